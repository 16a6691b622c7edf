"""One image, one request: `/v1/segment` as multipart or as JSON."""

import json
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from masklet.errors import InputError
from masklet.serve.problems import HttpProblem
from masklet.serve.routes.forms import form_of
from masklet.serve.schemas import SegmentAnswer, SegmentBody
from masklet.serve.segmenting import segment_image
from masklet.serve.state import Server, ServerState
from masklet.serve.uploads import from_base64

router = APIRouter(tags=["segment"])
# Written out, as FastAPI names only bodies that it reads itself; what it refers to is named by the answers
_SCHEMA = SegmentBody.model_json_schema(ref_template="#/components/schemas/{model}")
del _SCHEMA["$defs"]
_MULTIPART = {
    "type": "object",
    "required": ["image", "request"],
    "properties": {
        "image": {"type": "string", "format": "binary"},
        "request": {"type": "string", "description": "a SegmentBody as JSON", "contentMediaType": "application/json"},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _SCHEMA}, "multipart/form-data": {"schema": _MULTIPART}},
    }
}


@router.post("/v1/segment", openapi_extra=_BODY)
async def segment(request: Request, server: Server) -> SegmentAnswer:
    """Answers several prompts about one image, each by itself."""
    body, data = await _read(request)
    return await run_in_threadpool(_segment, server, body, data)


def _segment(server: ServerState, body: SegmentBody, data: bytes) -> SegmentAnswer:
    return segment_image(server.host.get(), server.decoder.read(data), body)


async def _read(request: Request) -> tuple[SegmentBody, bytes]:
    """The prompts and the bytes of the image. Raises: HttpProblem (415, 422), InputError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with form_of(request, max_part_size=4 * 2**20) as form:
            return await _of_form(form)
    if kind != "application/json":
        raise HttpProblem(415, f"a body is application/json or multipart/form-data, not {kind[:60]!r}")
    body = _parse(await request.body())
    if not body.image:
        raise InputError("there is no image: send it in base64 as `image`, or as a file of a multipart body")
    return body, from_base64(body.image)


async def _of_form(form: FormData) -> tuple[SegmentBody, bytes]:
    image, text = form.get("image"), form.get("request")
    if not isinstance(image, UploadFile) or not isinstance(text, str):
        raise HttpProblem(422, "a multipart body has the file `image` and the field `request` with JSON")
    return _parse(text.encode()), await image.read()


def _parse(text: bytes) -> SegmentBody:
    try:
        given: Any = json.loads(text)
        return SegmentBody.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise HttpProblem(422, f"{where}: {first['msg']}"[:500]) from error
    except (ValueError, RecursionError) as error:
        raise HttpProblem(422, f"the body is no JSON: {str(error)[:200]}") from error
