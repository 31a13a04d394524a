"""Tests mirror the source: for every module there is the file that fails when it breaks.

`src/PACKAGE/a/b.py` is tested by `tests/a/test_b.py`. A folder whose files are parts of one thing may be tested by one file
`tests/test_a.py`. What is tested elsewhere is listed here, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(p.parent.name for p in ROOT.glob("lirpa_*/src"))

#: `{package/module: test file}`, in groups by reason.
ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "conformance runs it: cases are data, and a wrong one fails there": {
        "lirpa_testing/core_cases/*": "lirpa_testing/src/lirpa_testing/conformance/test_conformance.py",
        "lirpa_ops_vision/conformance": "lirpa_testing/src/lirpa_testing/conformance/test_conformance.py",
        "lirpa_ops_nlp/conformance": "lirpa_testing/src/lirpa_testing/conformance/test_conformance.py",
        "lirpa_perturbations/conformance": "lirpa_testing/src/lirpa_testing/conformance/test_conformance.py",
    },
    "it is itself a file of tests": {
        "lirpa_testing/conformance/test_conformance": "lirpa_testing/src/lirpa_testing/conformance/test_conformance.py",
    },
    "rules of one kind go through the same checks and proofs": {
        "lirpa_core/operators/activation/*": "lirpa_core/tests/operators/activation/test_proof.py",
    },
    "capture is tested as a whole, on models: a pass that fails changes the graph or refuses too little": {
        "lirpa_core/capture/clean_up": "lirpa_core/tests/capture/test_capture.py",
        "lirpa_core/capture/export": "lirpa_core/tests/capture/test_capture.py",
        "lirpa_core/capture/refusals": "lirpa_core/tests/capture/test_capture.py",
        "lirpa_core/capture/registry_of_values": "lirpa_core/tests/api/test_jacobian.py",
        "lirpa_core/capture/replay": "lirpa_core/tests/capture/test_capture.py",
        "lirpa_core/capture/source": "lirpa_core/tests/capture/test_capture.py",
        "lirpa_core/capture/inlining": "lirpa_core/tests/capture/test_small_matrices.py",
        "lirpa_core/capture/reached": "lirpa_core/tests/capture/test_small_matrices.py",
        "lirpa_core/capture/mixed_precision": "lirpa_core/tests/capture/test_batch_state.py",
        "lirpa_core/capture/captured_model": "lirpa_core/tests/api/test_bounded_module.py",
    },
    "its functions are parts of `compute_bounds`, whose tests call it in every way": {
        "lirpa_core/api/bound_call": "lirpa_core/tests/api/test_bounded_module.py",
        "lirpa_core/api/computation": "lirpa_core/tests/api/test_bounded_module.py",
        "lirpa_core/api/linear_bounds": "lirpa_core/tests/api/test_bounded_module.py",
        "lirpa_core/api/outputs": "lirpa_core/tests/api/test_bounded_module.py",
        "lirpa_core/api/rule_variants": "lirpa_core/tests/api/test_options.py",
        "lirpa_core/api/wrapped_module": "lirpa_core/tests/api/test_bounded_module.py",
    },
    "two processes run it, because one alone shares nothing": {
        "lirpa_core/api/shared_problem": "lirpa_core/tests/devices/test_processes.py",
    },
    "a graph of kernels needs a CUDA device, and the replays of `compiled` are those of one there": {
        "lirpa_core/devices/graphs": "lirpa_core/tests/api/test_recorded.py",
    },
    "commands are run as a user runs them": {
        "lirpa_core/cli/group": "lirpa_core/tests/cli/test_commands.py",
        "lirpa_core/cli/report": "lirpa_core/tests/cli/test_ops.py",
        "lirpa_core/cli/methods": "tests/plugins/test_throw_away_method.py",
    },
    "the parts of the registry are tested by what they refuse and what they find": {
        "lirpa_core/plugin": "lirpa_core/tests/plugins/test_registry.py",
        "lirpa_core/plugins/collector": "lirpa_core/tests/plugins/test_operators.py",
        "lirpa_core/plugins/entries": "lirpa_core/tests/plugins/test_operators.py",
        "lirpa_core/plugins/hookspecs": "lirpa_core/tests/plugins/test_loading.py",
        "lirpa_core/plugins/perturbations": "lirpa_core/tests/plugins/test_operators.py",
        "lirpa_core/plugins/pattern": "lirpa_core/tests/plugins/test_patterns.py",
        "lirpa_core/plugins/reader": "lirpa_core/tests/plugins/test_readers.py",
    },
    "one operator algebra, one table of matrices": {
        "lirpa_core/linear/operators/broadcasting": "lirpa_core/tests/linear/operators/test_base.py",
        "lirpa_core/linear/operators/elementwise": "lirpa_core/tests/linear/operators/test_base.py",
        "lirpa_core/linear/operators/matrix": "lirpa_core/tests/linear/operators/test_base.py",
        "lirpa_core/operators/positionwise_kernels": "lirpa_core/tests/linear/coefficients/test_positionwise.py",
    },
    "curves, slopes and lines are one computation": {
        "lirpa_core/rules/unary/curve": "lirpa_core/tests/rules/unary/test_lines.py",
        "lirpa_core/rules/unary/rule": "lirpa_core/tests/rules/unary/test_lines.py",
        "lirpa_core/rules/unary/tangent": "lirpa_core/tests/rules/unary/test_lines.py",
        "lirpa_core/rules/leaf_modules": "lirpa_core/tests/capture/test_leaf_modules.py",
    },
    "every perturbation passes the kit, which calls it": {
        "lirpa_core/perturbations/base": "lirpa_testing/tests/perturbations/test_check.py",
        "lirpa_perturbations/box": "lirpa_perturbations/tests/test_affine.py",
        "lirpa_perturbations/budget": "lirpa_perturbations/tests/test_l0.py",
        "lirpa_perturbations/grouping": "lirpa_perturbations/tests/test_l0.py",
        "lirpa_core/problem/inputs": "lirpa_core/tests/perturbations/test_joint.py",
        "lirpa_core/problem/perturbed_graph": "lirpa_core/tests/problem/test_binding.py",
    },
    "the rules that use it are compared with the operator": {
        "lirpa_ops_vision/image_operators": "lirpa_ops_vision/tests/test_pooling.py",
        "lirpa_ops_vision/windows": "lirpa_ops_vision/tests/test_pooling.py",
        "lirpa_ops_vision/resize": "lirpa_ops_vision/tests/test_networks.py",
        "lirpa_ops_nlp/embedding": "lirpa_ops_nlp/tests/test_embedding_and_losses.py",
        "lirpa_ops_nlp/losses": "lirpa_ops_nlp/tests/test_embedding_and_losses.py",
        "lirpa_ops_nlp/operators": "lirpa_ops_nlp/tests/test_softmax.py",
        "lirpa_ops_nlp/weighted_sum": "lirpa_ops_nlp/tests/test_attention.py",
    },
    "parts of one loss: a wrong part gives a wrong loss or a wrong gradient": {
        "lirpa_training/attack": "lirpa_training/tests/test_loss.py",
        "lirpa_training/bounding": "lirpa_training/tests/test_loss.py",
        "lirpa_training/evaluation": "lirpa_training/tests/test_loss.py",
        "lirpa_training/expressive": "lirpa_training/tests/test_loss.py",
        "lirpa_training/inputs": "lirpa_training/tests/test_loss.py",
        "lirpa_training/margins": "lirpa_training/tests/test_cross_entropy.py",
        "lirpa_training/step": "lirpa_training/tests/test_loss.py",
        "lirpa_training/wrapper": "lirpa_training/tests/test_cross_entropy.py",
    },
    "the kit is tested on what is wrong on purpose: a part that looks away lets it through": {
        "lirpa_testing/conformance/*": "lirpa_testing/tests/conformance/test_suite.py",
        "lirpa_testing/methods/*": "lirpa_testing/tests/conformance/test_methods.py",
        "lirpa_testing/perturbations/attack": "lirpa_testing/tests/perturbations/test_check.py",
        "lirpa_testing/plugin": "lirpa_testing/tests/conformance/test_suite.py",
        "lirpa_testing/profiles": "lirpa_testing/tests/conformance/test_suite.py",
        "lirpa_testing/proof/*": "lirpa_testing/tests/proof/test_prove.py",
        "lirpa_testing/pytest_plugin": "lirpa_testing/tests/conformance/test_suite.py",
        "lirpa_testing/report": "lirpa_testing/tests/rules/test_check.py",
        "lirpa_testing/rules/*": "lirpa_testing/tests/rules/test_check.py",
        "lirpa_testing/tolerance": "lirpa_testing/tests/rules/test_check.py",
    },
    "bounds with rounding are compared with exact arithmetic, whole": {
        "lirpa_core/rules/precision": "tests/rounding/test_exact_arithmetic.py",
    },
    "names of another system are tested by programs that use them": {
        "lirpa_core/api/compatibility/*": "tests/test_one_import_changed.py",
        "lirpa_training/utilities": "tests/test_one_import_changed.py",
    },
    "bounds of what is executed are compared with executions, whole models and refusals": {
        "lirpa_core/operators/composites_as_executed": "tests/rounding/test_as_executed.py",
        "lirpa_core/rules/executed": "tests/rounding/test_as_executed.py",
        "lirpa_core/problem/rules_as_executed": "tests/rounding/test_as_executed.py",
        "lirpa_core/capture/registry_as_executed": "tests/rounding/test_as_executed.py",
    },
    "what a captured graph takes for granted is changed in every way there": {
        "lirpa_core/capture/fingerprint/contents": "lirpa_core/tests/capture/fingerprint/test_fingerprint.py",
    },
    "a verifier is tested by the questions that it answers, part by part of its search": {
        "lirpa_verify/answers/*": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/bounding": "lirpa_verify/tests/search/test_neuron_splitting.py",
        "lirpa_verify/branching/boxes": "lirpa_verify/tests/search/test_input_splitting.py",
        "lirpa_verify/branching/gain": "lirpa_verify/tests/branching/test_babsr.py",
        "lirpa_verify/branching/neurons": "lirpa_verify/tests/branching/test_babsr.py",
        "lirpa_verify/certification/*": "lirpa_verify/tests/certification/test_run.py",
        "lirpa_verify/clock": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/digests": "lirpa_verify/tests/instances/test_run.py",
        "lirpa_verify/commands/*": "lirpa_verify/tests/commands/test_commands.py",
        "lirpa_verify/errors": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/instances/*": "lirpa_verify/tests/instances/test_run.py",
        "lirpa_verify/ladder/*": "lirpa_verify/tests/ladder/test_climb.py",
        "lirpa_verify/network": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/onnx/*": "lirpa_verify/tests/onnx/test_load.py",
        "lirpa_verify/properties/*": "lirpa_verify/tests/properties/test_builders.py",
        "lirpa_verify/region": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/running/*": "lirpa_verify/tests/running/test_processes.py",
        "lirpa_verify/rounding": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/search/*": "lirpa_verify/tests/search/test_input_splitting.py",
        "lirpa_verify/task": "lirpa_verify/tests/test_questions.py",
        "lirpa_verify/vnnlib/*": "lirpa_verify/tests/vnnlib/test_read.py",
    },
}
TABLE = {module: file for group in ELSEWHERE.values() for module, file in group.items()}


def modules(package: str) -> Iterator[str]:
    """Modules with code of their own, as `a/b`."""
    source = ROOT / package / "src" / package
    for path in sorted(source.rglob("*.py")):
        if path.stem not in ("__init__", "__main__", "_version"):
            yield path.relative_to(source).with_suffix("").as_posix()


def has_mirror(package: str, module: str) -> bool:
    """Whether the module, or the folder that it is part of, has its file of tests."""
    path, tests = Path(module), ROOT / package / "tests"
    folders = [tests / p.parent / f"test_{p.name}.py" for p in path.parents if p.name]
    return any(file.exists() for file in (tests / path.parent / f"test_{path.name}.py", *folders))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_its_tests(package: str) -> None:
    listed = {m for m in TABLE if m.startswith(f"{package}/")}
    missing = [
        f"{package}/{module}"
        for module in modules(package)
        if not has_mirror(package, module)
        and not listed & {f"{package}/{module}", f"{package}/{Path(module).parent}/*"}
    ]
    assert not missing, f"write tests at the mirrored place, or say here why they are elsewhere: {missing}"


@pytest.mark.parametrize("module", TABLE)
def test_the_table_is_true(module: str) -> None:
    package, _, rest = module.partition("/")
    assert (ROOT / TABLE[module]).is_file()
    assert rest.endswith("/*") or rest in set(modules(package)), "there is no such module any more"
    assert rest.endswith("/*") or not has_mirror(package, rest), (
        "it has tests at the mirrored place; take it out"
    )
