from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fusion.onnx_wire import needs


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    there = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [1])]
    back = [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [1])]
    graph = helper.make_graph(list(nodes), "g", there, back)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def endless() -> onnx.NodeProto:
    """A loop whose condition stays true."""
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    going = helper.make_tensor_value_info("going", TensorProto.BOOL, [])
    still = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    value, after = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1]) for name in ("v", "w"))
    nodes = [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Identity", ["v"], ["w"])]
    body = helper.make_graph(nodes, "body", [count, going, value], [still, after])
    return helper.make_node("Loop", ["", "", "x"], ["y"], body=body)


def test_an_endless_loop_is_refused_before_any_runtime_sees_it() -> None:
    with pytest.raises(ValueError, match="operator Loop is control flow, which may never end"):
        needs(model(endless()).SerializeToString())


@pytest.mark.parametrize("operator", ["If", "Scan", "SequenceMap"])
def test_no_operator_may_hold_a_graph(operator: str) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "inner", [], [])
    node = helper.make_node(operator, ["x"], ["y"], body=inner)
    with pytest.raises(ValueError, match=f"operator {operator} is control flow"):
        needs(model(node).SerializeToString())


def test_a_loop_inside_another_operators_graph_is_found() -> None:
    inner = helper.make_graph([endless()], "inner", [], [])
    node = helper.make_node("Identity", ["x"], ["y"], hidden=inner)
    with pytest.raises(ValueError, match="operator Loop"):
        needs(model(node).SerializeToString())


def test_a_random_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="RandomNormalLike is random"):
        needs(model(helper.make_node("RandomNormalLike", ["x"], ["y"])).SerializeToString())


def test_functions_of_its_own_are_refused() -> None:
    whole = model(helper.make_node("Identity", ["x"], ["y"]))
    opsets = [helper.make_opsetid("", 17)]
    again = helper.make_node("Mine", ["a"], ["b"])
    whole.functions.append(helper.make_function("", "Mine", ["a"], ["b"], [again], opsets))
    with pytest.raises(ValueError, match="functions of its own"):
        needs(whole.SerializeToString())


def test_a_plain_model_says_what_it_needs() -> None:
    found = needs(model(helper.make_node("Identity", ["x"], ["y"])).SerializeToString())
    assert (found.ir_version, found.opsets, found.external_data) == (8, {"": 17}, False)


GOOD = model(endless(), helper.make_node("Identity", ["x"], ["z"])).SerializeToString()


@given(st.binary(max_size=200), st.integers(0, len(GOOD)), st.integers(0, 20))
def test_any_bytes_are_needs_or_one_line_that_says_why_not(noise: bytes, at: int, instead: int) -> None:
    for content in (noise, GOOD[:at] + noise[:4] + GOOD[at + instead :]):
        try:
            needs(content)
        except ValueError as refusal:
            assert "\n" not in str(refusal)
