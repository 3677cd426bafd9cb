"""Running a sweep on Ray: the cluster, the baselines, the trials, and their progress."""
