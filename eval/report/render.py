"""Renders this room's templates: every value that goes in is shown as text."""

from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """A page as text.

    Args:
        template: the name of a file in `templates/`.
        values: what it speaks of; an unknown name in the template is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(template).render(values)
