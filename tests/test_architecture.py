"""The house's laws, each in a few lines: floors, doors, sizes, documents, types. What fails here erodes the plan."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "src" / "tuningfork"
FILES = sorted(HOUSE.rglob("*.py"))
NAMES = [str(path.relative_to(HOUSE)) for path in FILES]

# room -> the rooms it may import, besides errors and itself
FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "disk": set(),
    "network": {"disk"},
    "recipe": {"disk"},
    "galaxy": {"disk"},
    "published": {"galaxy", "disk", "recipe", "network"},
    "survey": {"galaxy", "disk", "recipe", "network"},
    "simulate": {"galaxy", "disk", "recipe"},
    "data": {"galaxy", "disk", "recipe"},
    "model": {"galaxy", "disk", "recipe"},
    "evaluate": {"galaxy", "disk", "recipe"},
    "train": {"data", "model", "evaluate", "galaxy", "recipe", "disk"},
    "predict": {"data", "model", "evaluate", "galaxy", "recipe", "disk"},
    "baseline": {"data", "model", "evaluate", "galaxy", "recipe", "disk"},
    "insight": {"predict", "baseline", "evaluate", "model", "data", "recipe", "galaxy", "disk"},
}
BELOW = {*FLOORS, *FLOORS["insight"], "insight", "train", "simulate", "survey", "published", "network"} - {"errors"}
FLOORS |= {"explorer": BELOW - {"network"}, "workflow": BELOW, "cli": BELOW | {"explorer", "workflow"}}

NO_TORCH = ("galaxy", "survey", "simulate", "evaluate", "predict", "explorer")
LIGHT = ("model/card.py", "model/encoder.py", "data/split.py")  # of rooms with torch, those that start without it
HEAVY = {
    "torch",
    "timm",
    "torchvision",
    "lightning_fabric",
    "tensorboard",
    "onnx",
    "onnxscript",
    "galsim",
    "lenstronomy",
    "openvino",
}

# who may do what, and why
WRITERS = {"disk.py": "the door"}
DECODERS = {
    "galaxy/decode.py": "the door",
    "galaxy/raster.py": "its half for PNG, TIFF and WebP: called on bytes whose header fits the budget",
    "galaxy/fits.py": "its FITS half: called on bytes whose budget has been checked",
    "galaxy/cutout.py": "encodes pictures; opens none",
}
WEIGHT_LOADERS = {
    "model/weights.py": "the door",
    "model/checkpoint.py": "its half for a checkpoint of PyTorch's, read as tensors alone, which becomes safetensors",
    "model/card.py": "reads the golden pair without torch",
    "train/state.py": "reads back the state it wrote, digest checked",
}
CONNECTORS = {
    "huggingface_hub": ("published/hub.py", "sends and brings models; it speaks the site's own protocol"),
    "subprocess": (
        "published/registry.py",
        "runs pip, which speaks the package registry's protocol, and proves hashes",
    ),
}
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_MODULES = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
BANNED_ATTRIBUTES = {"extractall", "system", "popen"}


def tree_of(path: Path) -> ast.Module:
    return _parsed(path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> list[tuple[str, int, bool]]:
    """(absolute module, line, is it at module level) of every import."""
    package = ("tuningfork", *path.relative_to(HOUSE).parts[:-1])
    found = []
    top = {id(node) for node in tree_of(path).body}
    for node in tree_of(path).body:
        if isinstance(node, ast.If):  # `if TYPE_CHECKING:`
            top |= {id(inner) for inner in node.body}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "tuningfork" else [module]
            if node.level and not node.module:
                names = [f"{module}.{alias.name}" for alias in node.names]
            found += [(name, node.lineno, id(node) in top) for name in names]
    return found


def room_of_file(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_point_down(path: Path) -> None:
    room = room_of_file(path)
    if room == "__init__":
        return
    allowed = FLOORS[room] | {"errors", room, "__version__"}
    wrong = [
        f"line {line}: {module}"
        for module, line, _ in imports_of(path)
        if module.startswith("tuningfork.") and room_of(module) not in allowed
    ]
    assert not wrong, f"{path.name} of {room} may import {sorted(allowed)}"


def test_no_circles() -> None:
    modules = {".".join(("tuningfork", *path.relative_to(HOUSE).with_suffix("").parts)): path for path in FILES}
    edges = {
        name: {m for m, _, _ in imports_of(path) if m in modules and m != name}
        | {f"{m}.__init__" for m, _, _ in imports_of(path) if f"{m}.__init__" in modules and m != "tuningfork"}
        for name, path in modules.items()
        if name != "tuningfork.__init__"
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for target in edges.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_late_imports_are_for_heavy_libraries_only(path: Path) -> None:
    if path.name == "__init__.py" or room_of_file(path) in ("cli", "workflow"):
        return  # the face and the command line bind lazily, so that --help is quick
    late = {m for m, _, top in imports_of(path) if not top and m.startswith("tuningfork.")}
    torch_rooms = {m for m in late if room_of(m) in ("model", "train", "data")}
    assert late <= torch_rooms, f"late imports inside the package: {late - torch_rooms}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_rooms_without_torch_name_it_late(path: Path) -> None:
    room = room_of_file(path)
    if room in NO_TORCH or path.relative_to(HOUSE).as_posix() in LIGHT:
        early = {m.split(".")[0] for m, _, top in imports_of(path) if top} & HEAVY
        assert not early


def test_the_base_install_imports_without_the_heavy_libraries() -> None:
    rooms = [
        ".".join(("tuningfork", *path.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__")
        for path in FILES
        if room_of_file(path) in (*NO_TORCH, "cli", "__init__", "errors", "disk", "recipe")
        or path.relative_to(HOUSE).as_posix() in LIGHT
    ]
    code = (
        "import sys, importlib\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {HEAVY!r}: raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"for room in {rooms!r}: importlib.import_module(room)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def calls_of(path: Path) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]


def mode_of(call: ast.Call, position: int) -> str:
    given = [k.value for k in call.keywords if k.arg == "mode"] or call.args[position : position + 1]
    return given[0].value if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str) else "r"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_door_writes(path: Path) -> None:
    if path.relative_to(HOUSE).as_posix() in WRITERS:
        return
    wrong = []
    for name, call in calls_of(path):
        last = name.rpartition(".")[2]
        writes = last in ("write_text", "write_bytes") and not name.startswith("disk.")
        writes |= name == "open" and set(mode_of(call, 1)) & set("wax+") != set()
        writes |= last == "open" and name != "open" and mode_of(call, 0)[:1] in ("w", "a", "x")
        writes |= last in ("mkdir", "unlink", "rmdir", "rename", "touch", "symlink_to", "rmtree", "makedirs")
        writes |= name in ("np.save", "np.savez", "np.savetxt", "os.replace", "os.remove", "shutil.copy", "shutil.move")
        if writes:
            wrong.append(f"line {call.lineno}: {name}")
    assert not wrong, "write through tuningfork.disk"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_door_decodes_images(path: Path) -> None:
    if path.relative_to(HOUSE).as_posix() in DECODERS:
        return
    modules = {m for m, _, _ in imports_of(path)}
    assert not {m for m in modules if m.startswith(("simplejpeg", "cv2", "imageio"))}
    assert not [
        f"line {c.lineno}: {n}" for n, c in calls_of(path) if n in ("Image.open", "PIL.Image.open", "Pillow.open")
    ]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_door_loads_weights(path: Path) -> None:
    banned = {m for m, _, _ in imports_of(path) if m.split(".")[0] in BANNED_MODULES}
    assert not banned
    for name, call in calls_of(path):
        last = name.rpartition(".")[2]
        assert name not in BANNED_CALLS and last not in BANNED_ATTRIBUTES, f"line {call.lineno}: {name}"
        assert name not in ("torch.save", "fabric.save", "fabric.load"), f"line {call.lineno}: {name}"
        if name == "torch.load":
            assert path.relative_to(HOUSE).as_posix() == "model/checkpoint.py", f"line {call.lineno}: {name}"
            assert ("weights_only", "True") in [(k.arg, ast.unparse(k.value)) for k in call.keywords]
        for keyword in call.keywords:
            named = (keyword.arg, ast.unparse(keyword.value))
            assert named not in (("shell", "True"), ("allow_pickle", "True")), f"line {call.lineno}: {name}"
    if path.relative_to(HOUSE).as_posix() not in WEIGHT_LOADERS:
        assert not {m for m, _, _ in imports_of(path) if m.startswith("safetensors")}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_door_connects(path: Path) -> None:
    if room_of_file(path) in ("network", "explorer"):
        return
    nets = {"httpx", "requests", "urllib.request", "urllib3", "aiohttp", "http.client", "ftplib"}
    modules = {m for m, _, _ in imports_of(path)}
    assert not modules & nets
    for library, (caller, _) in CONNECTORS.items():
        assert path.relative_to(HOUSE).as_posix() == caller or not {m for m in modules if m.startswith(library)}
    assert not [n for n, _ in calls_of(path) if n in ("socket.socket", "socket.create_connection")]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_public_name_is_documented(path: Path) -> None:
    first = ast.get_docstring(tree_of(path))
    assert first and first.splitlines()[0].rstrip().endswith((".", ":")), "the first line says in one sentence what"
    bare = []

    def visit(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    bare.append(f"{owner}{node.name}")
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{owner}{node.name}.")

    visit(tree_of(path).body, "")
    assert not bare


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_names_say_what_they_are(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "misc", "common", "core", "base", "manager", "v2"}


def test_the_face_is_small_sorted_and_lazy() -> None:
    code = (
        "import sys, tuningfork\n"
        "names = tuningfork.__all__\n"
        "assert names == sorted(names) and len(names) <= 30, names\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'astropy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(names) <= set(dir(tuningfork))\n"
        "for name in names: assert getattr(tuningfork, name).__doc__, name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_help_page_imports_no_numbers() -> None:
    code = (
        "import sys\nfrom tuningfork import cli\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'astropy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types() -> None:
    run = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_lint(command: list[str]) -> None:
    run = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_document_names_one_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    if not any(tracked):
        pytest.skip("not a git checkout")
    mounts = ("/wo" + "rk/", "/fa" + "rm/", "/ho" + "me/", "/ro" + "ot/")
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in (".md", ".py", ".toml", ".html", ".txt", ".css") and path.exists():
            text = path.read_text(encoding="utf-8")
            assert not [mount for mount in mounts if mount in text], name
