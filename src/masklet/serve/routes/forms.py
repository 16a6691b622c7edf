"""Files in multipart bodies, read part by part into files of their own where they are large."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from masklet.serve.problems import HttpProblem


def file_body(field: str) -> dict[str, Any]:
    """What OpenAPI is told of a body that is one file."""
    schema = {
        "type": "object",
        "required": [field],
        "properties": {field: {"type": "string", "format": "binary"}},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@asynccontextmanager
async def upload_of(request: Request, field: str) -> AsyncIterator[UploadFile]:
    """The file of a multipart body. Raises: HttpProblem (415, 422) when there is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HttpProblem(415, f"a file comes as multipart/form-data, not as {kind[:60]!r}")
    async with request.form(max_files=1, max_fields=4) as form:
        file = form.get(field)
        if not isinstance(file, UploadFile):
            raise HttpProblem(422, f"the body has no file {field!r}")
        yield file
