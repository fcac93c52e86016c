"""WebShop in pure Python: a shop of any catalogue in WebShop's own files, searched by BM25."""

from __future__ import annotations

from dyna.envs.webshop.world import WebShopEnv, WebShopWorld

__all__ = ["WebShopEnv", "WebShopWorld"]
