"""Configs to plain values and back, as weight files and runs keep them."""

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values of a config, ready for JSON."""
    return {
        field.name: to_dict(value) if is_dataclass(value := getattr(config, field.name)) else value
        for field in fields(config)
    }


def from_dict(kind: type[C], values: dict[str, Any]) -> C:
    """The config that `to_dict` wrote. Raises `ValueError` on an unknown key."""
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - {field.name for field in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"unknown keys in {kind.__qualname__}: {', '.join(unknown)}")
    return kind(**{name: _from_value(hints[name], value) for name, value in values.items()})


def _from_value(hint: Any, value: Any) -> Any:
    kinds = [kind for kind in get_args(hint) or (hint,) if is_dataclass(kind)]
    if kinds:  # of several kinds of a part, the one that has these keys; the first says which it does not know
        fitting = (kind for kind in kinds if set(value) <= {field.name for field in fields(kind)})
        return from_dict(next(fitting, kinds[0]), value)  # type: ignore[arg-type]
    return tuple(value) if isinstance(value, list) else value
