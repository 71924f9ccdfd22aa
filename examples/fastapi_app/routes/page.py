"""The page, which uses the API as any other client does."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from tenantkit.fastapi import refuse_unserved, shared

FOLDER = Path(__file__).parents[1] / "page"

router = APIRouter(dependencies=[shared, refuse_unserved], include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(FOLDER / "index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    """Return the description of the API."""
    return FileResponse(FOLDER / "docs.html")
