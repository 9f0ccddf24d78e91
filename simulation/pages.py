"""HTML pages that need nothing beside them."""

from pathlib import Path

import jinja2

from fedloom import __version__


def write_page(path: Path, template: str, title: str, lead: str, **parts: object) -> None:
    """Fill in one of `simulation/templates`, whose first two lines are a title and a sentence."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("simulation"), autoescape=True, trim_blocks=True)
    page = environment.get_template(template).render(title=title, lead=lead, version=__version__, **parts)
    path.write_text(page, encoding="utf-8")
