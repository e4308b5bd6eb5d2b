"""Where targets and servers run; one file per runtime, registered by existing."""
