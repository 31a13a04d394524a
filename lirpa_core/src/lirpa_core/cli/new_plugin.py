"""`lirpa new-plugin`: a new package with rules of one's own, whose tests pass already."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
import jinja2

import lirpa_core
from lirpa_core.errors import OptionError

#: The root of the template's files: a folder whose name is itself a placeholder.
_ROOT: Final = "{{cookiecutter.package_name}}"


@click.command(
    "new-plugin",
    short_help="Make a package with rules of your own.",
    epilog="""\b
    Examples:
      lirpa new-plugin lirpa-ops-audio
      lirpa new-plugin lirpa-ops-audio --output ~/src --author "Ada Lovelace"
    """,
)
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to put the package's folder in; default: here.",
)
@click.option("--module", "module_name", help="Name for import; default: from NAME.")
@click.option("--plugin", "plugin_name", help="Short name in `lirpa plugins`; default: from NAME.")
@click.option("--description", help="What the package does, in one line.")
@click.option("--author", help="Whose it is.")
def command(name: str, output: Path, **options: str | None) -> None:
    """Make the package NAME: an example operator of each family, an example perturbation, and tests.

    NAME is the name for pip, such as lirpa-ops-audio.
    """
    target = make(name, output, **options)
    click.echo(f"made {target}\n\n  cd {target}\n  pip install -e '.[test]'\n  pytest\n  lirpa check {name}")


def make(name: str, output: Path, **options: str | None) -> Path:
    """Write the package.

    Args:
        name: Its name for pip.
        output: Folder to put its folder in; made if it does not exist.
        **options: Values of the template's other variables; None for the default.

    Returns:
        The package's folder.

    Raises:
        OptionError: A name or text cannot be used, the folder exists, or it cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise OptionError(
            f"'{name}' is no name for a package: use letters, digits, '-', '_' and '.', with a letter or digit "
            "at both ends"
        )
    template = template_folder()
    values = _values(template, {"package_name": name, **options})
    _check(values)
    target = output.expanduser() / name
    if target.exists() or target.is_symlink():
        raise OptionError(f"{target} exists already; choose another name or --output, or move it away")
    files = render(template, values)
    try:
        for path, content in files.items():
            destination = output.expanduser() / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            destination.write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OptionError(f"cannot write {error.filename or target}: {error.strerror or error}") from error
    return target


def template_folder() -> Path:
    """Where the template is: inside an installed package, or beside it in the repository.

    Raises:
        OptionError: The package was installed without it.
    """
    package = Path(lirpa_core.__file__).parent
    for destination in (package, package.parents[2]):
        if (destination / "plugins_template" / "cookiecutter.json").is_file():
            return destination / "plugins_template"
    raise OptionError(
        "this installation of lirpa-core lacks the template of plugins; install it from a wheel"
    )


def render(template: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Every file of the package: content by path, as cookiecutter makes them."""
    environment = _environment()
    found = {}
    for path in sorted((template / _ROOT).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            destination = environment.from_string(path.relative_to(template).as_posix()).render(
                cookiecutter=values
            )
            content = environment.from_string(path.read_text(encoding="utf-8"))
            found[destination] = content.render(cookiecutter=values)
    return found


def _environment() -> jinja2.Environment:
    return jinja2.Environment(  # noqa: S701  the output is Python and Markdown, not HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )


def _values(template: Path, given: Mapping[str, str | None]) -> dict[str, str]:
    """The template's variables: what is given, else the defaults, which may refer to earlier ones."""
    defaults: dict[str, Any] = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    values: dict[str, str] = {}
    for variable, default in defaults.items():
        chosen = given.get(variable)
        values[variable] = chosen or _environment().from_string(default).render(cookiecutter=values)
    return values


def _check(values: Mapping[str, str]) -> None:
    for variable, option in (("module_name", "--module"), ("plugin_name", "--plugin")):
        name = values[variable]
        if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
            raise OptionError(
                f"the {variable.replace('_name', '')} would be called '{name}', which is no Python identifier "
                f"(letters, digits and '_', not a digit first, no keyword); choose another name with {option}"
            )
    module = values["module_name"]
    if find_spec(module) is not None:
        raise OptionError(
            f"a module '{module}' is installed already, and Python could not tell the two apart; choose another "
            "name with --module"
        )
    if values["plugin_name"] == "core":
        raise OptionError("the plugin name 'core' is reserved for lirpa itself; choose another with --plugin")
    for variable in ("description", "author"):
        if re.search(r'["\\\x00-\x1f]', values[variable]):
            raise OptionError(
                f"--{variable} must be one line without double quotes and backslashes, got {values[variable]!r}"
            )
