"""Files in multipart bodies, read part by part into files of their own where they are large."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from masklet.serve.problems import HttpProblem


def file_body(field: str) -> dict[str, Any]:
    """What OpenAPI is told of a body that is one file."""
    schema = {
        "type": "object",
        "required": [field],
        "properties": {field: {"type": "string", "format": "binary"}},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def form_of(request: Request, **limits: int) -> "AbstractAsyncContextManager[FormData]":
    """The parts of a multipart body. Raises: HttpProblem (415) for letters other than UTF-8."""
    kind = request.headers.get("content-type", "").lower().translate({ord(each): None for each in "\"' "})
    if "charset=" in kind.replace("charset=utf-8", ""):
        raise HttpProblem(415, "the letters of a multipart body are UTF-8: send it without another charset")
    return request.form(max_files=1, max_fields=4, **limits)


@asynccontextmanager
async def upload_of(request: Request, field: str) -> AsyncIterator[UploadFile]:
    """The file of a multipart body. Raises: HttpProblem (415, 422) when there is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HttpProblem(415, f"a file comes as multipart/form-data, not as {kind[:60]!r}")
    async with form_of(request) as form:
        file = form.get(field)
        if not isinstance(file, UploadFile):
            raise HttpProblem(422, f"the body has no file {field!r}")
        yield file
