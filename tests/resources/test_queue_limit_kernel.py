"""What is said to the kernel, and what it says: attributes, queue disciplines, limits."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.netlink import (
    ROOT,
    Qdisc,
    attribute,
    attributes,
    handle_name,
    handle_number,
    link_of,
    qdisc_of,
)
from quantum_control.resources.queue_kinds import (
    CLASSFUL,
    KINDS,
    MANAGED,
    MANAGING,
    check_replaceable,
    choose,
    codel_asks_for,
    codel_reads_back,
)

numbers = st.integers(0, 2**32 - 1)
contents = st.binary(max_size=60)
parts = st.lists(st.tuples(st.integers(1, 0x3FFF), contents), max_size=6)

TBF = bytes.fromhex("280001000001000000000000d0121300000000000000000000000000101a1700da93000000000000")
"""Options of `tbf rate 10mbit burst 3028 limit 1514000`, as Linux 6.18 gives them."""


@given(parts)
def test_attributes_are_read_as_they_were_written(written):
    data = b"".join(attribute(kind, value) for kind, value in written)
    assert [(kind, data[begin:end]) for kind, begin, end in attributes(data)] == written


@given(st.binary(max_size=200))
def test_whatever_bytes_come_attributes_stay_inside_and_come_to_an_end(data):
    for _, begin, end in attributes(data):
        assert 4 <= begin <= end <= len(data)


@given(st.binary(min_size=20, max_size=200))
def test_whatever_bytes_come_a_qdisc_or_link_is_decoded(data):
    assert isinstance(qdisc_of(data), Qdisc)
    assert link_of(data).index == struct.unpack_from("=i", data, 4)[0]


@given(st.integers(0, 2**32 - 2))
def test_a_handle_is_read_as_it_is_written(handle):
    assert handle_number(handle_name(handle)) == handle


@pytest.mark.parametrize("name", ["1", "", ":", "fog", "1:10000", "1:2:3", "-1:0"])
def test_what_is_no_handle_is_refused(name):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the caller's to make
        handle_number(name)


def test_counts_are_where_the_kernel_puts_them():
    basic = attribute(1, struct.pack("=QI4x", 123_456_789_012, 7))
    queue = attribute(3, struct.pack("=IIIII", 5, 6000, 8, 0, 0))
    body = struct.pack("=BxHiIII", 0, 0, 3, 0x10000, ROOT, 0)
    body += attribute(1, b"bfifo\0") + attribute(2, struct.pack("=I", 30_000)) + attribute(7, basic + queue)
    assert qdisc_of(body) == Qdisc(
        "bfifo", 3, 0x10000, ROOT, struct.pack("=I", 30_000), 123_456_789_012, 7, 8, 6000, 5
    )


@given(kind=st.sampled_from(["bfifo", "pfifo", "pfifo_head_drop"]), before=numbers, after=numbers)
def test_a_fifo_is_its_limit(kind, before, after):
    options = struct.pack("=I", before)
    assert KINDS[kind].limit(options) == before
    assert KINDS[kind].limit(KINDS[kind].with_limit(options, after)) == after


@given(after=numbers)
def test_of_a_tbf_only_the_limit_changes(after):
    tbf = KINDS["tbf"]
    assert tbf.limit(TBF) == 1_514_000
    changed = tbf.with_limit(TBF, after)
    assert tbf.limit(changed) == after
    assert tbf.with_limit(changed, 1_514_000) == TBF


@given(cut=st.integers(0, 31))
def test_options_that_are_cut_short_are_a_sensor_error(cut):
    with pytest.raises(SensorError, match="not known here"):
        KINDS["tbf"].limit(TBF[:cut])
    with pytest.raises(SensorError, match="not known here"):
        KINDS["bfifo"].limit(TBF[: cut % 4])


@given(target=st.integers(1, 10_000_000), others=parts)
def test_a_codel_target_is_put_back_as_the_kernel_read_it(target, others):
    """The kernel keeps units of 1.024 µs: setting what was read would lose one each time."""
    read = codel_reads_back(target)
    assert codel_reads_back(codel_asks_for(read)) == read
    options = b"".join(attribute(kind + 1, value) for kind, value in others)
    options += attribute(1, struct.pack("=I", target))
    assert KINDS["fq_codel"].limit(options) == target
    assert KINDS["fq_codel"].with_limit(options, 5000) == attribute(1, struct.pack("=I", 5000))


def at(kind, handle=0x10000, parent=ROOT, options=b"\0" * 4):
    return Qdisc(kind, 2, handle, parent, options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_only_queue_is_chosen(kind):
    assert choose("eth9", [at(kind)], None) == at(kind)


def test_packets_wait_in_the_leaf_of_a_tbf():
    leaf = at("bfifo", 0x100000, 0x10001)
    assert choose("eth9", [at("tbf"), leaf], None) == leaf
    assert choose("eth9", [at("tbf"), leaf], ROOT) == at("tbf")


def test_one_of_several_queues_has_to_be_chosen():
    leaves = [at("bfifo", 0x100000, 0x10001), at("pfifo", 0x110000, 0x10002)]
    with pytest.raises(ConfigError, match=r"parent='1:1'.*parent='1:2'.*parent="):
        choose("eth9", [at("htb"), *leaves], None)
    assert choose("eth9", [at("htb"), *leaves], 0x10002) == leaves[1]


@pytest.mark.parametrize("kind", MANAGED)
def test_what_manages_itself_is_left_alone(kind):
    with pytest.raises(ConfigError, match="manages its queue by itself and is left alone"):
        choose("eth9", [at(kind)], None)


@pytest.mark.parametrize("kind", CLASSFUL)
def test_what_holds_no_packets_says_where_they_are(kind):
    with pytest.raises(ConfigError, match="no class has a queue of its own"):
        choose("eth9", [at(kind)], None)
    with pytest.raises(ConfigError, match="queues are at 1:9"):
        choose("eth9", [at(kind), at("fog", 0x90000, 0x10009)], None)


def test_an_unknown_or_missing_queue_says_what_can_be_done():
    with pytest.raises(ConfigError, match=r"netem.*not known here; known: .*bfifo"):
        choose("eth9", [at("netem")], None)
    with pytest.raises(ConfigError, match=r"noqueue.*replace=True"):
        choose("eth9", [at("noqueue", 0)], None)
    with pytest.raises(ConfigError, match=r"default, which cannot be changed.*replace=True"):
        choose("eth9", [at("pfifo", 0)], None)
    with pytest.raises(ConfigError, match="no queue discipline"):
        choose("eth9", [], None)
    with pytest.raises(ConfigError, match=r"at 1:5.*replace=True"):
        choose("eth9", [at("htb")], 0x10005)


@pytest.mark.parametrize("kind", ["codel", "fq_codel"])
def test_the_kernels_own_codel_is_not_to_be_made_a_bfifo(kind):
    with pytest.raises(ConfigError, match=rf"left alone.*tc qdisc replace dev eth9 root {kind}$"):
        choose("eth9", [at(kind, 0)], None)
    with pytest.raises(ConfigError, match=rf"tc qdisc replace dev eth9 parent 1:5 {kind}$"):
        choose("eth9", [at("htb"), at(kind, 0, 0x10005)], 0x10005)
    with pytest.raises(ConfigError, match=f"{kind} on eth9 .*nothing to steer"):
        choose("eth9", [at("mq", 0), at(kind, 0, 1), at(kind, 0, 2)], None)


@pytest.mark.parametrize("kind", MANAGING)
def test_what_manages_itself_is_not_replaced_either(kind):
    here = at(kind, 0)
    with pytest.raises(ConfigError, match=f"{kind} on eth9 .*replace=True too"):
        check_replaceable("eth9", [here], here)
    with pytest.raises(ConfigError, match=f"{kind} on eth9 .*replace=True too"):
        check_replaceable("eth9", [at("mq", 0), at(kind, 0, 1)], at("mq", 0))
    check_replaceable("eth9", [at("htb"), at(kind, 0, 0x10001)], at("pfifo", 0, 0x10002))
    check_replaceable("eth9", [at("noqueue", 0)], at("noqueue", 0))


def test_the_kernels_own_pfifo_fast_is_steered_by_the_length_of_the_interface():
    assert choose("eth9", [at("pfifo_fast", 0)], None) == at("pfifo_fast", 0)
