"""What a name on the command line stands for."""

from lossmeter.plan.catalogue import Catalogue


def test_all_leaves_out_what_runs_by_its_name_only() -> None:
    catalogue = Catalogue.here()
    assert catalogue.left_out(["all"]) == ["equal-rates", "grace"]
    assert not {"equal-rates", "grace"} & set(catalogue.chosen(["all"]))
    assert len(catalogue.chosen(["all"])) == len(catalogue.experiment_names()) - 2


def test_a_name_beside_all_brings_it_back() -> None:
    catalogue = Catalogue.here()
    both = ["all", "equal-rates", "grace"]
    assert catalogue.chosen(both) == catalogue.experiment_names()
    assert catalogue.left_out(both) == catalogue.left_out(["grace"]) == []
    assert catalogue.left_out(["all", "grace"]) == ["equal-rates"]
