"""The load: an open schedule of events, journalled before and after each one."""
