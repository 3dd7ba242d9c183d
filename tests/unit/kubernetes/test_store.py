from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kraftlet_trio.kubernetes.objects import ObjectMeta
from kraftlet_trio.kubernetes.pod import Pod
from kraftlet_trio.kubernetes.store import Store
from kraftlet_trio.kubernetes.watch import WatchEvent

uids = st.sampled_from("abcd")
names = st.sampled_from(["one", "two", "three"])
versions = st.integers(0, 3).map(str)


def a_pod(uid: str, name: str, version: str) -> Pod:
    metadata = ObjectMeta(name=name, namespace="default", uid=uid, resource_version=version)
    return Pod(metadata=metadata)


@st.composite
def clusters(draw):
    """Pods of different names and uids, as a server can have at once."""
    members = draw(st.dictionaries(names, uids))
    owners = {uid: name for name, uid in members.items()}
    return [a_pod(uid, name, draw(versions)) for uid, name in owners.items()]


class StoreAgainstModel(RuleBasedStateMachine):
    """The model is a dict by uid whose names are unique, compared before and after each change."""

    def __init__(self):
        super().__init__()
        self.store = Store()
        self.model = {}

    def changed_since(self, before):
        return {uid for uid in before | self.model if before.get(uid) != self.model.get(uid)}

    @rule(pods=clusters())
    def listed(self, pods):
        before = self.model
        self.model = {pod.metadata.uid: pod for pod in pods}
        assert self.store.replace(pods) == self.changed_since(before)

    @rule(uid=uids, name=names, version=versions, type_=st.sampled_from(["ADDED", "MODIFIED"]))
    def put(self, uid, name, version, type_):
        if uid in self.model:
            name = self.model[uid].metadata.name  # never changes in an object's life
        before, pod = dict(self.model), a_pod(uid, name, version)
        self.model = {
            other: held for other, held in before.items() if held.metadata.name != name
        } | {uid: pod}
        assert self.store.apply(WatchEvent(type_, pod, version)) == self.changed_since(before)

    @rule(uid=uids, name=names)
    def deleted(self, uid, name):
        before = dict(self.model)
        self.model.pop(uid, None)
        event = WatchEvent("DELETED", a_pod(uid, name, "9"), "9")
        assert self.store.apply(event) == self.changed_since(before)

    @rule(version=versions)
    def bookmarked(self, version):
        assert self.store.apply(WatchEvent("BOOKMARK", None, version)) == set()

    @invariant()
    def holds_the_model(self):
        assert {pod.metadata.uid: pod for pod in self.store.values()} == self.model
        for uid in "abcd":
            assert self.store.get(uid) == self.model.get(uid)
        by_name = {pod.metadata.name: pod for pod in self.model.values()}
        for name in ("one", "two", "three"):
            assert self.store.by_name("default", name) == by_name.get(name)
            assert self.store.by_name("elsewhere", name) is None


TestStoreAgainstModel = StoreAgainstModel.TestCase


@given(clusters())
def test_same_list_again_changes_nothing(pods):
    store = Store()
    store.replace(pods)
    assert store.replace(list(reversed(pods))) == set()


def test_namesake_drives_out_a_missed_deletion():
    store = Store()
    store.apply(WatchEvent("ADDED", a_pod("a", "one", "1"), "1"))
    assert store.apply(WatchEvent("ADDED", a_pod("b", "one", "2"), "2")) == {"a", "b"}
    assert store.get("a") is None
    assert store.by_name("default", "one").metadata.uid == "b"
