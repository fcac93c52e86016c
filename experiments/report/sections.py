"""Parts of a page that a command writes: what stands between two comments of a name.

<!-- NAME:begin -->  ...  <!-- NAME:end -->
"""

from __future__ import annotations

from pathlib import Path

from dyna.files import replacing


def write_section(path: Path, *, name: str, text: str) -> bool:
    """Replace what stands between the comments; a page without them is left alone, and False."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin not in page or end not in page:
        return False
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    with replacing(path) as draft:
        draft.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
    return True


__all__ = ["write_section"]
