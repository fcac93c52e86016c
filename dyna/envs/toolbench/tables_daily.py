"""Tables of daily life: places, people, travel, trade, and the days they are busy with."""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Sequence

from dyna.envs.toolbench import words
from dyna.envs.toolbench.draws import (
    FIRST_DAY,
    Draft,
    Row,
    codes,
    column,
    distinct_numbers,
    names,
    random_date,
    random_price,
    random_time,
)


def fill_places(draft: Draft, rng: random.Random, num_rows: int) -> None:
    countries = rng.sample(words.COUNTRIES, max(4, min(len(words.COUNTRIES), num_rows // 2)))
    currencies = rng.sample(words.CURRENCIES, min(len(words.CURRENCIES), len(countries)))
    draft["currencies"] = [
        {"currency": code, "rate": rng.randrange(20, 900) / 100} for code in currencies
    ]
    cities = names(rng, num_rows, shapes=("{}",), nouns=words.CITIES)
    airports = rng.sample(
        [a + b + c for a in "BDFGKLM" for b in "AEIOU" for c in "NRSTVX"], num_rows
    )
    sizes = distinct_numbers(rng, num_rows, low=20, high=900)
    draft["cities"] = [
        {
            "city": city,
            "country": rng.choice(countries),
            "airport": airports[i],
            "postal_code": str(rng.randrange(10000, 99999)),
            "population": sizes[i] * 1000,
            "elevation": rng.randrange(0, 1800),
            "x": rng.randrange(0, 900),
            "y": rng.randrange(0, 900),
            "temperature": rng.randrange(-15, 36),
            "humidity": rng.randrange(20, 100),
            "condition": rng.choice(words.CONDITIONS),
            "wind": rng.randrange(0, 90),
            "high_tomorrow": rng.randrange(0, 38),
            "low_tomorrow": rng.randrange(-20, 0),
            "air_quality": rng.randrange(1, 180),
            "sunrise": f"0{rng.randrange(5, 8)}:{rng.randrange(10, 60)}",
            "sunset": f"{rng.randrange(17, 22)}:{rng.randrange(10, 60)}",
        }
        for i, city in enumerate(cities)
    ]
    for row in draft["cities"]:
        row["nearest_city"] = _nearest(row, others=draft["cities"])
    draft["countries"] = [
        {
            "country": country,
            "capital": rng.choice(cities),
            "currency": rng.choice(currencies),
            "language": rng.choice(words.LANGUAGES),
            "calling_code": f"+{rng.randrange(200, 999)}",
        }
        for country in countries
    ]


def _nearest(row: Row, *, others: Sequence[Row]) -> str:
    return min(
        (math.hypot(other["x"] - row["x"], other["y"] - row["y"]), other["city"])
        for other in others
        if other is not row
    )[1]


def fill_people(draft: Draft, rng: random.Random, num_rows: int) -> None:
    every = [f"{first} {last}" for first in words.FIRST_NAMES for last in words.LAST_NAMES]
    people = rng.sample(every, num_rows)
    companies = rng.sample(words.COMPANIES, min(len(words.COMPANIES), max(4, num_rows // 2)))
    cities = column(draft["cities"], "city")
    managers = people[1:] + people[:1]
    draft["contacts"] = [
        {
            "name": name,
            "email": f"{name.lower().replace(' ', '.')}@{rng.choice(companies).lower()}.example",
            "phone": f"555-{rng.randrange(1000, 10000)}",
            "city": rng.choice(cities),
            "company": rng.choice(companies),
            "birthday": random_date(rng),
            "manager": managers[i],
        }
        for i, name in enumerate(people)
    ]
    prices = distinct_numbers(rng, len(companies), low=10, high=900)
    draft["companies"] = [
        {
            "company": company,
            "ceo": rng.choice(people),
            "headquarters": rng.choice(cities),
            "industry": rng.choice(words.INDUSTRIES),
            "employees": rng.randrange(20, 9000),
            "founded": rng.randrange(1900, 2030),
            "ticker": company[:4].upper(),
            "share_price": float(prices[i]),
            "volume": rng.randrange(1000, 90000),
            "dividend": rng.randrange(5, 500) / 100,
        }
        for i, company in enumerate(companies)
    ]


def fill_travel(draft: Draft, rng: random.Random, num_rows: int) -> None:
    cities = column(draft["cities"], "city")
    num = 2 * num_rows
    prices = distinct_numbers(rng, num, low=40, high=900)
    numbers = rng.sample(range(100, 100 + 20 * num), num)
    draft["flights"] = []
    for i in range(num):
        origin, destination = rng.sample(cities, 2)
        draft["flights"].append(
            {
                "flight": f"{rng.choice('ABKLNS')}{rng.choice('CDFWZ')}{numbers[i]}",
                "airline": rng.choice(words.AIRLINES),
                "origin": origin,
                "destination": destination,
                "date": random_date(rng),
                "departs": random_time(rng),
                "gate": f"{rng.choice('ABCD')}{rng.randrange(1, 40)}",
                "aircraft": rng.choice(words.AIRCRAFT),
                "status": rng.choice(("on time", "boarding", "delayed", "cancelled")),
                "price": float(prices[i]),
            }
        )
    rates = distinct_numbers(rng, num_rows, low=40, high=400)
    draft["hotels"] = [
        {
            "hotel": hotel,
            "city": rng.choice(cities),
            "stars": rng.randrange(1, 6),
            "price": float(rates[i]),
            "phone": f"555-{rng.randrange(1000, 10000)}",
            "manager": rng.choice(column(draft["contacts"], "name")),
            "rooms_free": rng.randrange(0, 60),
        }
        for i, hotel in enumerate(
            names(rng, num_rows, shapes=("Hotel {}", "{} House"), nouns=words.HOTEL_NAMES)
        )
    ]
    draft["cars"] = [
        {
            "plate": plate,
            "owner": rng.choice(column(draft["contacts"], "name")),
            "make": rng.choice(words.MAKES),
            "color": rng.choice(words.COLORS),
            "year": rng.randrange(2005, 2031),
            "city": rng.choice(cities),
        }
        for plate in codes(rng, num_rows, prefix="CAR")
    ]


def fill_trade(draft: Draft, rng: random.Random, num_rows: int) -> None:
    people = column(draft["contacts"], "name")
    cities = column(draft["cities"], "city")
    goods = names(rng, num_rows, shapes=[c + " {}" for c in words.COLORS], nouns=words.GOODS)
    prices = distinct_numbers(rng, num_rows, low=5, high=400)
    draft["products"] = [
        {
            "product": product,
            "price": float(prices[i]) + 0.5,
            "stock": rng.randrange(0, 200),
            "supplier": rng.choice(column(draft["companies"], "company")),
            "department": rng.choice(words.DEPARTMENTS),
            "rating": rng.randrange(10, 50) / 10,
            "weight": rng.randrange(1, 300) / 10,
        }
        for i, product in enumerate(goods)
    ]
    trackings = codes(rng, num_rows, prefix="T")
    dates = sorted({random_date(rng) for _ in range(3 * num_rows)})[:num_rows]
    draft["orders"] = [
        {
            "order": order,
            "customer": rng.choice(people),
            "product": rng.choice(goods),
            "quantity": rng.randrange(1, 12),
            "status": rng.choice(("paid", "packed", "shipped", "delivered", "returned")),
            "tracking": trackings[i],
            "date": dates[i % len(dates)],
            "total": random_price(rng, low=5, high=900),
        }
        for i, order in enumerate(codes(rng, num_rows, prefix="O"))
    ]
    draft["shipments"] = [
        {
            "tracking": tracking,
            "carrier": rng.choice(words.CARRIERS),
            "location": rng.choice(cities),
            "courier": rng.choice(people),
            "eta": random_date(rng),
            "weight": rng.randrange(1, 400) / 10,
        }
        for tracking in trackings
    ]


def fill_days(draft: Draft, rng: random.Random, num_rows: int) -> None:
    people = column(draft["contacts"], "name")
    cities = column(draft["cities"], "city")
    draft["events"] = [
        {
            "event": event,
            "title": f"{rng.choice(words.EVENT_TOPICS)} {rng.choice(words.EVENT_NOUNS)}",
            "date": random_date(rng),
            "time": random_time(rng),
            "city": rng.choice(cities),
            "organizer": rng.choice(people),
            "attendees": sorted(rng.sample(people, 3)),
        }
        for event in codes(rng, num_rows, prefix="E")
    ]
    dates = rng.sample(range(365), num_rows)
    draft["messages"] = [
        {
            "message": message,
            "sender": rng.choice(people),
            "recipient": rng.choice(people),
            "subject": f"{rng.choice(words.EVENT_TOPICS)} {rng.choice(words.SUBJECTS)}",
            "date": (FIRST_DAY + datetime.timedelta(days=dates[i])).isoformat(),
            "event": rng.choice(draft["events"])["event"],
        }
        for i, message in enumerate(codes(rng, num_rows, prefix="M"))
    ]
    draft["devices"] = [
        {
            "device": device,
            "type": rng.choice(words.GADGETS),
            "room": rng.choice(words.ROOMS),
            "owner": rng.choice(people),
            "battery": rng.randrange(1, 101),
            "firmware": f"{rng.randrange(1, 5)}.{rng.randrange(0, 10)}",
        }
        for device in codes(rng, num_rows, prefix="D")
    ]
    salaries = distinct_numbers(rng, num_rows, low=20, high=160)
    draft["jobs"] = [
        {
            "job": job,
            "title": rng.choice(words.JOBS),
            "company": rng.choice(column(draft["companies"], "company")),
            "city": rng.choice(cities),
            "salary": float(salaries[i] * 1000),
            "recruiter": rng.choice(people),
        }
        for i, job in enumerate(codes(rng, num_rows, prefix="J"))
    ]


__all__ = ["fill_days", "fill_people", "fill_places", "fill_trade", "fill_travel"]
