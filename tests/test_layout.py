"""The house rules that no linter holds, without waivers. CONTRIBUTING.md gives the reasons."""

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mien.config import Config, models_in
from mien.verbs.verb import CONFIGS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "platform" / "mien"
TESTS = ROOT / "tests"

MAX_LINES = 400
MAX_JOB_LINES = 10
CODE = {".py", ".yaml", ".yml", ".toml", ".sh", ".html", ".js", ".css", ".mk", ""}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "core", "tools"}
HEAVY = ["av", "cv2", "h5py", "mediapipe", "numpy", "pyarrow", "ray", "torch", "transformers"]
RAY_ROOMS = {"pipelines", "training", "tuning"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_NAMES = {"eval", "exec"}
UNSAFE_METHODS = {"VideoCapture", "imread"}
MACHINE = re.compile(r"/(home|Users)/\w|(?<![\w.])/(root|work)/")
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|AIza[\w-]{35}|ya29\.[\w-]{20}|gh[pousr]_\w{36}|hf_[A-Za-z]{30}|xox[bp]-\w{10}"
    "|-----BEGIN (RSA |EC |OPENSSH )?PRIVATE KEY"
)


def files() -> list[Path]:
    """Every file that is or will be tracked."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:  # an unpacked archive has no repository
        hidden = ("__pycache__", ".venv", ".git")
        return [path for path in ROOT.rglob("*") if path.is_file() and not set(path.parts) & set(hidden)]
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def shipped() -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file that a user runs, parsed."""
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "jobs").glob("*.py")]:
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.Module) -> set[str]:
    """Top names of everything that a module imports, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def shown(paths: Iterable[Path]) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def run(*arguments: str) -> str:
    """Standard output of Python in a fresh process, started in the root of the repository."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_file_is_longer_than_its_ceiling() -> None:
    code = [path for path in files() if path.suffix in CODE and path.name not in {"LICENSE"}]
    assert [path.name for path in code if path.suffix == ".py"]
    assert shown(path for path in code if len(text(path).splitlines()) > MAX_LINES) == []


def test_no_ceiling_is_waived() -> None:
    waiver = re.compile(r"noqa:[^\n]*\b(C901|PLR0913|PLR0915|E501)|ruff:\s*noqa|mypy:\s*ignore-errors")
    assert shown(path for path, _ in shipped() if waiver.search(text(path))) == []
    ruff = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["ruff"]
    assert ruff["line-length"] <= 120
    assert ruff["lint"]["mccabe"]["max-complexity"] <= 8
    assert ruff["lint"]["pylint"]["max-args"] <= 6
    assert ruff["lint"]["pylint"]["max-statements"] <= 40
    assert {"C90", "PLR0913", "PLR0915", "D"} <= set(ruff["lint"]["select"])


def test_no_name_hides_what_is_inside() -> None:
    def names(path: Path) -> set[str]:
        return {part.partition(".")[0].strip("_").lower() for part in path.relative_to(ROOT).parts}

    assert shown(path for path in files() if names(path) & FORBIDDEN_NAMES) == []


def test_platform_is_a_source_root_and_hides_nothing() -> None:
    assert shown((ROOT / "platform").glob("*.py")) == []
    assert [path.name for path in (ROOT / "platform").iterdir() if path.name != "__pycache__"] == ["mien"]
    found = Path(run("-c", "import platform; print(platform.python_version() and platform.__file__)"))
    assert found.parent == Path(os.__file__).parent


def expected_test(module: Path) -> Path:
    """platform/mien/video/decode.py -> tests/video/test_video_decode.py."""
    room = module.relative_to(PACKAGE).with_suffix("").parts
    return TESTS.joinpath(*room[:-1], f"test_{'_'.join(room)}.py")


def has_module(test: Path, modules: set[Path]) -> bool:
    """A test file is named for its module; a second one for the same module adds words to the name."""
    return any(test.parent == own.parent and f"{test.stem}_".startswith(f"{own.stem}_") for own in modules)


def test_every_module_has_its_test_and_every_test_its_module() -> None:
    modules = {expected_test(path) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    tests = {path for path in TESTS.rglob("test_*.py") if path != Path(__file__)}
    without_test = shown(modules - tests)
    without_module = shown(test for test in tests if not has_module(test, modules))
    assert not without_test, "\n".join(["missing tests:", *without_test])
    assert not without_module, "\n".join(["tests of no module:", *without_module])


def test_an_init_file_holds_nothing_to_test() -> None:
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try)
    inits = [(path, tree) for path, tree in shipped() if path.name == "__init__.py"]
    assert shown(path for path, tree in inits if any(isinstance(node, logic) for node in ast.walk(tree))) == []


def test_test_folders_are_no_packages_and_test_names_are_unique() -> None:
    assert shown(TESTS.rglob("__init__.py")) == []
    names = Counter(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_benchmarks_are_not_collected_by_the_suite() -> None:
    assert shown((TESTS / "benchmarks").glob("test_*.py")) == []


def load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def job_of(config: Path) -> str:
    """configs/<job>/*.yaml, or configs/<job>/<kind>/*.yaml of a job that has several."""
    return config.parent.relative_to(ROOT / "configs").as_posix()


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/**/*.y*ml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path: Path) -> None:
    cls: type[Config] = load(CONFIGS[job_of(path)])
    assert path.suffix == ".yaml"
    required = [name for name, field in cls.model_fields.items() if field.is_required()]
    config = cls.load(path, [f"{name}=given-on-the-command-line" for name in required])
    assert cls.parse(config.dump(), "dump") == config


def test_every_job_has_a_config_folder_and_a_script() -> None:
    assert {job_of(path) for path in ROOT.glob("configs/**/*.yaml")} == set(CONFIGS)
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == {job.partition("/")[0] for job in CONFIGS}


@pytest.mark.parametrize("job", CONFIGS)
def test_every_field_of_a_config_is_explained(job: str) -> None:
    def fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{name}", field
            for nested in models_in(field.annotation):
                yield from fields(nested)

    mute = {name for name, field in fields(load(CONFIGS[job])) if not field.description}
    assert sorted(name for name in mute if not name.endswith(".kind")) == []


def is_wiring(node: ast.stmt) -> bool:
    """A docstring, an import, one call, or that call below `if __name__ == "__main__"`."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "__name__ == '__main__'" and not node.orelse and all(map(is_wiring, node.body))
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom)


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").iterdir()), ids=lambda path: path.name)
def test_a_job_imports_and_calls(path: Path) -> None:
    if path.name == "__pycache__":
        pytest.skip("left by Python")
    assert path.suffix == ".py"
    assert len(text(path).splitlines()) <= MAX_JOB_LINES
    body = ast.parse(text(path)).body
    assert [ast.unparse(node) for node in body if not is_wiring(node)] == []
    assert not any(isinstance(node, ast.Lambda | ast.IfExp | ast.ListComp) for n in body for node in ast.walk(n))


def test_no_file_knows_one_machine_or_a_secret() -> None:
    assert shown(path for path in files() if MACHINE.search(text(path))) == []
    assert shown(path for path in files() if SECRET.search(text(path))) == []


@pytest.mark.parametrize(
    "program",
    [
        "import mien.cli",
        "import mien.config, mien.errors, mien.log, mien.schema",
        "from mien.cli import main\ntry: main(['--help'])\nexcept SystemExit as end: assert not end.code",
    ],
    ids=["import", "ground floor", "help"],
)
def test_the_command_line_starts_without_heavy_libraries(program: str) -> None:
    out = run("-c", f"{program}\nimport sys; print(*sorted(set({HEAVY}) & set(sys.modules)), sep=' ', end='|')")
    assert out.splitlines()[-1] == "|"


def test_only_its_rooms_import_ray() -> None:
    users = [path for path, tree in shipped() if "ray" in imports(tree)]
    assert shown(path for path in users if path.relative_to(PACKAGE).parts[0] not in RAY_ROOMS) == []
    assert users


def test_shipped_code_runs_nothing_that_a_file_says() -> None:
    def is_unsafe(node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in UNSAFE_NAMES
        if isinstance(node, ast.Attribute):
            return node.attr in UNSAFE_METHODS
        return isinstance(node, ast.keyword) and node.arg == "allow_pickle"

    assert shown(path for path, tree in shipped() if UNSAFE_MODULES & imports(tree)) == []
    assert shown(path for path, tree in shipped() if any(map(is_unsafe, ast.walk(tree)))) == []


def test_cluster_files_hold_no_python() -> None:
    assert shown((ROOT / "cluster").rglob("*.py")) == []


def test_the_checks_run_one_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in text(script).splitlines() if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', ".ci/chromium", "make test"]
    assert re.search(r"^make test\b", text(ROOT / "README.md"), re.MULTILINE), "the README names the same command"


def test_every_make_target_is_phony_and_explained() -> None:
    makefile = text(ROOT / "Makefile")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert {"quickstart", "test", "lint", "bench"} <= targets
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    assert targets == set(phony[1].split())
