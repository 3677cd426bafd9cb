"""How tests are divided among processes (``pytest -n 2 --dist loadgroup``)."""

import pytest

RAY = "ray"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with a Ray cluster, which take longest, first and one after the other.

    The others stay together by file, for what a file's tests share.
    """
    for item in items:
        group = RAY if _has_cluster(item) else item.location[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not _has_cluster(item))


def _has_cluster(item: pytest.Item) -> bool:
    return item.get_closest_marker(RAY) is not None
