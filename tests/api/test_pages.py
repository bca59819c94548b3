"""The front end, its deep links, and the page of the routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from httpx import AsyncClient

from penstock.app import create_app
from penstock.settings import Settings


@pytest.mark.row("A228")
async def test_without_a_built_page_the_service_says_how_to_build_it(client: AsyncClient) -> None:
    root = await client.get("/")
    deep = await client.get("/review", headers={"accept": "text/html"})

    assert "npm run build" in root.text
    assert "UI_FOLDER" in root.text
    assert 'href="/docs"' in root.text
    assert "frontend" not in root.text  # a folder that the repository does not have
    assert (root.status_code, deep.status_code) == (200, 200)


@pytest.mark.row("A228", "D17")
async def test_deep_links_get_the_page_and_files_stay_in_their_folder(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from httpx import ASGITransport

    ui = tmp_path / "ui"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<title>the page</title>")
    (ui / "assets" / "app.1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    made = create_app(settings.model_copy(update={"ui_folder": ui}))

    async with AsyncClient(transport=ASGITransport(app=made), base_url="http://localhost") as client:
        pages = [await client.get(path) for path in ("/", "/review", "/pipelines/7/edit", "/index.html")]
        script = await client.get("/assets/app.1a2b.js")
        missing = [
            await client.get(path)
            for path in (
                "/assets/nope.js",
                "/api/nope",
                "/..%2fsecret.txt",
                "/%2e%2e/secret.txt",
                "/a%00b.js",
            )
        ]

    assert [page.text for page in pages] == ["<title>the page</title>"] * 4
    assert "immutable" in script.headers["cache-control"]
    assert [answer.status_code for answer in missing] == [404] * 5
    assert "secret" not in "".join(answer.json()["error"] for answer in missing)


@pytest.mark.row("A227")
async def test_the_routes_are_listed_on_a_page_without_scripts(client: AsyncClient) -> None:
    page = await client.get("/docs")

    assert page.status_code == 200
    assert "/api/pipelines/{pipeline_id}/execute" in page.text
    assert "<script" not in page.text
