"""cookiecutter runs this before it writes anything; `lirpa new-plugin` makes the same checks itself."""

import keyword
import re
import sys

PACKAGE, MODULE, PLUGIN = (
    "{{ cookiecutter.package_name }}",
    "{{ cookiecutter.module_name }}",
    "{{ cookiecutter.plugin_name }}",
)

if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", PACKAGE):
    sys.exit(f"package_name '{PACKAGE}' is no name for a package: use letters, digits, '-', '_' and '.'")
for option, name in (("module_name", MODULE), ("plugin_name", PLUGIN)):
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        sys.exit(f"{option} '{name}' is no Python identifier: use letters, digits and '_', not a digit first")
