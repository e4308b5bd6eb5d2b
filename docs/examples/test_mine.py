"""Our dispatcher must lose nothing while nothing goes wrong."""


def test_no_event_is_lost(lossless_run):
    assert lossless_run("control", target="dispatcher.toml").lost == 0
