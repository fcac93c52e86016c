"""APIs of places and ways between them: weather, maps, countries, flights, hotels, cars."""

from __future__ import annotations

import math
from typing import Any

from dyna.envs.toolbench.documents import (
    LIMIT,
    Api,
    Arguments,
    Output,
    Parameter,
    RefusedError,
    find,
    listing,
    lookup,
    results,
)
from dyna.envs.toolbench.tables import Tables

WEATHER = ("Weather", "weather_desk")
MAPS = ("Mapping", "atlas")
COUNTRIES = ("Location", "country_facts")
FLIGHTS = ("Transportation", "flight_board")
HOTELS = ("Travel", "stay_finder")
CARS = ("Transportation", "car_register")
_CITY_A = Parameter(name="origin", kind="city", description="City to start from")
_CITY_B = Parameter(name="destination", kind="city", description="City to go to")


def _distance(tables: Tables, arguments: Arguments) -> dict[str, Any]:
    a, b = (
        find(tables, table="cities", column="city", value=arguments[name])
        for name in ("origin", "destination")
    )
    km = round(math.hypot(a["x"] - b["x"], a["y"] - b["y"]))
    return {"km": km, "drive_minutes": round(km * 0.8)}


def _flights(tables: Tables, arguments: Arguments) -> dict[str, Any]:
    ends = tuple(str(arguments[name]).strip().casefold() for name in ("origin", "destination"))
    rows = [
        row
        for row in tables["flights"]
        if (row["origin"].casefold(), row["destination"].casefold()) == ends
    ]
    if not rows:
        raise RefusedError(f"no flight from {arguments['origin']!s:.60} to this destination")
    return results(rows, fields=("flight", "price", "date"), limit=arguments.get("limit"))


APIS: tuple[Api, ...] = (
    lookup(
        WEATHER,
        "current_weather",
        "Weather in a city now.",
        table="cities",
        by="city",
        says={
            "temperature": ("number", "the temperature in {}"),
            "condition": ("text", "the weather condition in {}"),
            "humidity": ("number", "the humidity in {}"),
            "wind": ("number", "the wind speed in {}"),
        },
    ),
    lookup(
        WEATHER,
        "forecast_tomorrow",
        "Highest and lowest temperature of tomorrow.",
        table="cities",
        by="city",
        says={
            "high_tomorrow": ("number", "tomorrow's high in {}"),
            "low_tomorrow": ("number", "tomorrow's low in {}"),
        },
    ),
    lookup(
        WEATHER,
        "air_quality",
        "Air quality index of a city.",
        table="cities",
        by="city",
        says={"air_quality": ("number", "the air quality index of {}")},
    ),
    lookup(
        WEATHER,
        "sun_times",
        "Sunrise and sunset in a city.",
        table="cities",
        by="city",
        says={
            "sunrise": ("text", "the time of sunrise in {}"),
            "sunset": ("text", "the time of sunset in {}"),
        },
    ),
    lookup(
        MAPS,
        "city_facts",
        "Country, population and elevation of a city.",
        table="cities",
        by="city",
        says={
            "country": ("country", "the country of {}"),
            "population": ("number", "the population of {}"),
            "elevation": ("number", "the elevation of {}"),
        },
    ),
    lookup(
        MAPS,
        "postal_code",
        "Postal code of a city.",
        table="cities",
        by="city",
        says={"postal_code": ("text", "the postal code of {}")},
    ),
    Api(
        category=MAPS[0],
        tool=MAPS[1],
        name="road_distance",
        description="Kilometers and minutes of driving between two cities.",
        required=(_CITY_A, _CITY_B),
        outputs=(
            Output(field="km", kind="number", phrase="the km from {origin} to {destination}"),
            Output(
                field="drive_minutes",
                kind="number",
                phrase="the minutes of driving from {origin} to {destination}",
            ),
        ),
        reads={"cities": ("city", "x", "y")},
        run=_distance,
    ),
    lookup(
        MAPS,
        "nearest_city",
        "The city that lies nearest to a city.",
        table="cities",
        by="city",
        says={"nearest_city": ("city", "the city nearest to {}")},
    ),
    lookup(
        COUNTRIES,
        "country_facts",
        "Capital and language of a country.",
        table="countries",
        by="country",
        says={
            "capital": ("city", "the capital of {}"),
            "language": ("text", "the language of {}"),
        },
    ),
    lookup(
        COUNTRIES,
        "country_currency",
        "Currency of a country.",
        table="countries",
        by="country",
        says={"currency": ("currency", "the currency of {}")},
    ),
    lookup(
        COUNTRIES,
        "calling_code",
        "Telephone calling code of a country.",
        table="countries",
        by="country",
        says={"calling_code": ("text", "the calling code of {}")},
    ),
    lookup(
        FLIGHTS,
        "airport_of_city",
        "Code of a city's airport.",
        table="cities",
        by="city",
        says={"airport": ("airport", "the airport code of {}")},
    ),
    lookup(
        FLIGHTS,
        "city_of_airport",
        "City of an airport code.",
        table="cities",
        by="airport",
        says={"city": ("city", "the city of {}")},
    ),
    lookup(
        FLIGHTS,
        "flight_status",
        "Status, gate and time of a flight.",
        table="flights",
        by="flight",
        says={
            "status": ("text", "the status of {}"),
            "gate": ("text", "the gate of {}"),
            "departs": ("text", "the departure time of {}"),
        },
    ),
    lookup(
        FLIGHTS,
        "flight_route",
        "Airline, origin and destination of a flight.",
        table="flights",
        by="flight",
        says={
            "airline": ("text", "the airline of {}"),
            "origin": ("city", "the origin of {}"),
            "destination": ("city", "the destination of {}"),
        },
    ),
    lookup(
        FLIGHTS,
        "flight_price",
        "Price of a flight in USD.",
        table="flights",
        by="flight",
        says={"price": ("usd", "the price of {}")},
    ),
    lookup(
        FLIGHTS,
        "flight_aircraft",
        "Aircraft and day of a flight.",
        table="flights",
        by="flight",
        says={"aircraft": ("text", "the aircraft of {}"), "date": ("date", "the day of {}")},
    ),
    listing(
        FLIGHTS,
        "departures",
        "Flights that leave a city.",
        table="flights",
        by="origin",
        kind="city",
        fields=("flight", "destination", "price"),
        says=(
            ("min:price", "flight", "flight", "the cheapest flight leaving {}"),
            ("max:price", "flight", "flight", "the dearest flight leaving {}"),
            ("all", "destination", "list", "the destinations of the flights leaving {}"),
        ),
    ),
    Api(
        category=FLIGHTS[0],
        tool=FLIGHTS[1],
        name="flights_between",
        description="Flights from one city to another.",
        required=(_CITY_A, _CITY_B),
        optional=(LIMIT,),
        outputs=(
            Output(
                field="flight",
                kind="flight",
                pick="min:price",
                phrase="the cheapest flight from {origin} to {destination}",
            ),
        ),
        reads={"flights": ("origin", "destination", "flight", "price", "date")},
        run=_flights,
    ),
    listing(
        HOTELS,
        "hotels_in_city",
        "Hotels of a city with price per night in USD.",
        table="hotels",
        by="city",
        fields=("hotel", "stars", "price"),
        says=(
            ("min:price", "hotel", "hotel", "the cheapest hotel in {}"),
            ("max:stars", "hotel", "hotel", "the hotel with most stars in {}"),
            ("all", "hotel", "list", "the hotels in {}"),
        ),
    ),
    lookup(
        HOTELS,
        "hotel_details",
        "City, stars and phone of a hotel.",
        table="hotels",
        by="hotel",
        says={
            "city": ("city", "the city of {}"),
            "stars": ("number", "the stars of {}"),
            "phone": ("text", "the phone number of {}"),
        },
    ),
    lookup(
        HOTELS,
        "hotel_price",
        "Price per night of a hotel in USD, and free rooms.",
        table="hotels",
        by="hotel",
        says={
            "price": ("usd", "the price per night of {}"),
            "rooms_free": ("number", "the free rooms of {}"),
        },
    ),
    lookup(
        HOTELS,
        "hotel_manager",
        "Who manages a hotel.",
        table="hotels",
        by="hotel",
        says={"manager": ("person", "the manager of {}")},
    ),
    lookup(
        CARS,
        "car_owner",
        "Owner of a car by its plate.",
        table="cars",
        by="plate",
        says={"owner": ("person", "the owner of {}"), "city": ("city", "the home city of {}")},
    ),
    lookup(
        CARS,
        "car_details",
        "Make, color and year of a car by its plate.",
        table="cars",
        by="plate",
        says={
            "make": ("text", "the make of {}"),
            "color": ("text", "the color of {}"),
            "year": ("number", "the year of {}"),
        },
    ),
)

__all__ = ["APIS"]
