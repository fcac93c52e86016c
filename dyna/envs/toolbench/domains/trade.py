"""APIs of trade: companies, shares, money, orders, products, parcels."""

from __future__ import annotations

from typing import Any

from dyna.envs.toolbench.documents import (
    PARAMETERS,
    Api,
    Arguments,
    Output,
    Parameter,
    find,
    listing,
    lookup,
)
from dyna.envs.toolbench.tables import Tables

COMPANIES = ("Business", "company_index")
STOCKS = ("Finance", "ticker_tape")
MONEY = ("Finance", "money_changer")
SHOP = ("eCommerce", "corner_shop")
PARCELS = ("Logistics", "parcel_watch")
_CURRENCY = Parameter(name="currency", kind="currency", description=PARAMETERS["currency"])
_AMOUNT = Parameter(name="amount", kind="usd", type="NUMBER", description=PARAMETERS["usd"])


def _convert(tables: Tables, arguments: Arguments) -> dict[str, Any]:
    row = find(tables, table="currencies", column="currency", value=arguments["currency"])
    return {"amount": round(float(arguments["amount"]) * row["rate"], 2)}


_MONEY: tuple[Api, ...] = (
    lookup(
        COMPANIES,
        "company_profile",
        "Industry, founding year and size of a company.",
        table="companies",
        by="company",
        says={
            "industry": ("text", "the industry of {}"),
            "founded": ("number", "the founding year of {}"),
            "employees": ("number", "the number of employees of {}"),
        },
    ),
    lookup(
        COMPANIES,
        "company_ceo",
        "Who leads a company.",
        table="companies",
        by="company",
        says={"ceo": ("person", "the CEO of {}")},
    ),
    lookup(
        COMPANIES,
        "company_headquarters",
        "City of a company's headquarters.",
        table="companies",
        by="company",
        says={"headquarters": ("city", "the headquarters city of {}")},
    ),
    lookup(
        STOCKS,
        "ticker_of_company",
        "Ticker symbol of a company.",
        table="companies",
        by="company",
        says={"ticker": ("ticker", "the ticker symbol of {}")},
    ),
    lookup(
        STOCKS,
        "share_quote",
        "Share price in USD and volume by ticker symbol.",
        table="companies",
        by="ticker",
        says={
            "share_price": ("usd", "the share price of {}"),
            "volume": ("number", "the share volume of {}"),
        },
    ),
    lookup(
        STOCKS,
        "dividend",
        "Dividend per share in USD by ticker symbol.",
        table="companies",
        by="ticker",
        says={"dividend": ("usd", "the dividend of {}")},
    ),
    lookup(
        MONEY,
        "exchange_rate",
        "Units of a currency for one USD.",
        table="currencies",
        by="currency",
        says={"rate": ("number", "the USD exchange rate of {}")},
    ),
    Api(
        category=MONEY[0],
        tool=MONEY[1],
        name="convert_usd",
        description="An amount in USD, converted to a currency.",
        required=(_AMOUNT, _CURRENCY),
        outputs=(Output(field="amount", kind="number", phrase="{amount} converted to {currency}"),),
        reads={"currencies": ("currency", "rate")},
        run=_convert,
    ),
)
_TRADE: tuple[Api, ...] = (
    lookup(
        SHOP,
        "order_status",
        "Status and date of an order.",
        table="orders",
        by="order",
        says={"status": ("text", "the status of {}"), "date": ("date", "the date of {}")},
    ),
    lookup(
        SHOP,
        "order_details",
        "Customer, product and quantity of an order.",
        table="orders",
        by="order",
        says={
            "customer": ("person", "the customer of {}"),
            "product": ("product", "the product of {}"),
            "quantity": ("number", "the quantity of {}"),
        },
    ),
    lookup(
        SHOP,
        "order_total",
        "Total of an order in USD.",
        table="orders",
        by="order",
        says={"total": ("usd", "the total of {}")},
    ),
    listing(
        SHOP,
        "orders_of_customer",
        "Orders of a person.",
        table="orders",
        by="customer",
        kind="person",
        fields=("order", "date"),
        says=(
            ("max:date", "order", "order", "the newest order of {}"),
            ("min:date", "order", "order", "the oldest order of {}"),
            ("all", "order", "list", "the orders of {}"),
        ),
    ),
    lookup(
        SHOP,
        "product_price",
        "Price of a product in USD.",
        table="products",
        by="product",
        says={"price": ("usd", "the price of {}")},
    ),
    lookup(
        SHOP,
        "product_stock",
        "Stock and department of a product.",
        table="products",
        by="product",
        says={
            "stock": ("number", "the stock of {}"),
            "department": ("text", "the department of {}"),
        },
    ),
    lookup(
        SHOP,
        "product_supplier",
        "Supplier of a product.",
        table="products",
        by="product",
        says={"supplier": ("company", "the supplier of {}")},
    ),
    lookup(
        SHOP,
        "product_rating",
        "Rating and weight of a product.",
        table="products",
        by="product",
        says={"rating": ("number", "the rating of {}"), "weight": ("number", "the weight of {}")},
    ),
    lookup(
        PARCELS,
        "tracking_number",
        "Tracking number of an order.",
        table="orders",
        by="order",
        says={"tracking": ("tracking", "the parcel of {}")},
    ),
    lookup(
        PARCELS,
        "track_parcel",
        "Place and arrival day of a parcel.",
        table="shipments",
        by="tracking",
        says={
            "location": ("city", "the present location of {}"),
            "eta": ("date", "the arrival day of {}"),
        },
    ),
    lookup(
        PARCELS,
        "parcel_carrier",
        "Carrier and courier of a parcel.",
        table="shipments",
        by="tracking",
        says={"carrier": ("text", "the carrier of {}"), "courier": ("person", "the courier of {}")},
    ),
)
APIS: tuple[Api, ...] = _MONEY + _TRADE

__all__ = ["APIS"]
