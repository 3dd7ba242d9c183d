import pytest

from kraftlet_trio.simulators.cloud.settings import CloudSettings


async def names(cloud, query=""):
    return [item["name"] for item in await cloud.items("GET", f"/instances{query}")]


@pytest.fixture
async def five(cloud):
    for number in range(5):
        tags = ["all", f"parity={number % 2}", f"n:{number}"]
        await cloud.create(name=f"i{number}", tags=tags)
    return cloud


async def test_list_without_details_has_references_only(autojump_clock, five):
    for item in await five.items("GET", "/instances"):
        assert item.keys() == {"status", "uuid", "name"}


async def test_list_is_in_order_of_creation(autojump_clock, five):
    assert await names(five) == ["i0", "i1", "i2", "i3", "i4"]
    assert await names(five, "?order=desc&sortby=create_time") == ["i4", "i3", "i2", "i1", "i0"]


async def test_pages_begin_with_their_cursor(autojump_clock, five):
    first = await five.items("GET", "/instances?count=3")
    assert [item["name"] for item in first] == ["i0", "i1", "i2"]
    second = await names(five, f"?count=3&from={first[-1]['uuid']}")
    assert second == ["i2", "i3", "i4"]


async def test_page_of_a_vanished_cursor_is_empty(autojump_clock, five):
    [cursor] = await five.items("GET", "/instances?name=i2")
    await five.item("DELETE", f"/instances/{cursor['uuid']}")
    assert await names(five, f"?from={cursor['uuid']}") == []


async def test_page_size_is_capped(autojump_clock, cloud_of):
    cloud = await cloud_of(settings=CloudSettings(most_items_a_page=2))
    for number in range(3):
        await cloud.create(name=f"i{number}")
    assert await names(cloud, "?count=100") == ["i0", "i1"]


async def test_tags_must_all_be_there(autojump_clock, five):
    assert await names(five, "?tags=all,parity=0") == ["i0", "i2", "i4"]
    assert await names(five, "?tags=all,parity=0,n:2") == ["i2"]
    assert await names(five, "?tags=n%3A3") == ["i3"]
    assert await names(five, "?tags=ghost") == []


async def test_encoded_comma_belongs_to_its_tag(autojump_clock, five):
    assert await names(five, "?tags=all%2Cparity=0") == []


async def test_plus_in_a_tag_is_a_plus(autojump_clock, cloud):
    await cloud.create(name="plus", tags=["a+b"])
    assert await names(cloud, "?tags=a+b") == ["plus"]
    assert await names(cloud, "?tags=a%2Bb") == ["plus"]


async def test_repeated_filters_answer_each_in_order(autojump_clock, five):
    answer = await five.call("GET", "/instances?name=i3&name=ghost&name=i1")
    assert answer["status"] == "partial_success"
    items = answer["data"]["instances"]
    assert [item["name"] for item in items] == ["i3", "ghost", "i1"]
    assert items[1]["error"] == 8


@pytest.mark.parametrize(
    "query",
    [
        "count=0",
        "count=-1",
        "count=many",
        "order=up",
        "sortby=name",
        "details=True",
        "color=red",
    ],
)
async def test_wrong_parameters_are_400(autojump_clock, cloud, query):
    assert (await cloud.send("GET", f"/instances?{query}")).status_code == 400


async def test_groups_cannot_be_filtered_by_tags(autojump_clock, cloud):
    assert (await cloud.send("GET", "/services?tags=a")).status_code == 400
