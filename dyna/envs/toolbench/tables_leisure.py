"""Tables of leisure: books, food, music, films and sports."""

from __future__ import annotations

import random

from dyna.envs.toolbench import words
from dyna.envs.toolbench.draws import (
    Draft,
    codes,
    column,
    distinct_numbers,
    names,
    random_date,
    random_price,
)


def fill_reading_and_food(draft: Draft, rng: random.Random, num_rows: int) -> None:
    people = column(draft["contacts"], "name")
    titles = names(rng, num_rows, shapes=words.BOOK_SHAPES, nouns=words.BOOK_NOUNS)
    authors = rng.sample(people, min(len(people), max(4, num_rows // 2)))
    years = distinct_numbers(rng, num_rows, low=1900, high=2030)
    draft["books"] = [
        {
            "book": title,
            "author": rng.choice(authors),
            "year": years[i],
            "pages": rng.randrange(80, 900),
            "shelf": f"{rng.choice('ABCDEFG')}{rng.randrange(1, 60)}",
            "branch": rng.choice(words.BRANCHES),
            "borrower": rng.choice(people),
            "due": random_date(rng),
        }
        for i, title in enumerate(titles)
    ]
    dishes = names(
        rng, num_rows, shapes=[f"{{}} {dish}" for dish in words.DISHES], nouns=words.INGREDIENTS
    )
    minutes = distinct_numbers(rng, num_rows, low=10, high=120)
    draft["recipes"] = [
        {
            "recipe": dish,
            "cuisine": rng.choice(words.CUISINES),
            "minutes": minutes[i],
            "servings": rng.randrange(1, 9),
            "main_ingredient": rng.choice(words.INGREDIENTS),
            "ingredients": sorted(rng.sample(words.INGREDIENTS, 3)),
            "chef": rng.choice(people),
        }
        for i, dish in enumerate(dishes)
    ]
    draft["ingredients"] = [
        {
            "ingredient": ingredient,
            "calories": rng.randrange(10, 600),
            "price": random_price(rng, low=1, high=12),
            "allergen": rng.choice(words.ALLERGENS),
            "supplier": rng.choice(column(draft["companies"], "company")),
        }
        for ingredient in words.INGREDIENTS
    ]


def fill_stage(draft: Draft, rng: random.Random, num_rows: int) -> None:
    people = column(draft["contacts"], "name")
    cities = column(draft["cities"], "city")
    artists = names(
        rng, max(4, num_rows // 2), shapes=("The {}", "Nine {}"), nouns=words.BAND_NOUNS
    )
    draft["artists"] = [
        {
            "artist": artist,
            "genre": rng.choice(words.GENRES),
            "label": rng.choice(words.LABELS),
            "hometown": rng.choice(cities),
            "singer": rng.choice(people),
            "concert_city": rng.choice(cities),
            "concert_date": random_date(rng),
            "ticket_price": random_price(rng, low=10, high=150),
        }
        for artist in artists
    ]
    plays = distinct_numbers(rng, num_rows, low=100, high=9000)
    songs = names(rng, num_rows, shapes=words.SONG_SHAPES, nouns=words.SONG_NOUNS)
    draft["songs"] = [
        {
            "song": song,
            "artist": rng.choice(artists),
            "year": rng.randrange(1960, 2031),
            "seconds": rng.randrange(90, 480),
            "plays": plays[i],
            "writer": rng.choice(people),
        }
        for i, song in enumerate(songs)
    ]
    ratings = distinct_numbers(rng, num_rows, low=10, high=100)
    movies = names(rng, num_rows, shapes=words.MOVIE_SHAPES, nouns=words.MOVIE_NOUNS)
    draft["movies"] = [
        {
            "movie": movie,
            "director": rng.choice(people),
            "studio": rng.choice(words.STUDIOS),
            "year": rng.randrange(1950, 2031),
            "minutes": rng.randrange(70, 210),
            "rating": ratings[i] / 10,
            "cinema": rng.choice(words.CINEMAS),
            "filmed_in": rng.choice(cities),
        }
        for i, movie in enumerate(movies)
    ]


def fill_sports(draft: Draft, rng: random.Random, num_rows: int) -> None:
    people = column(draft["contacts"], "name")
    cities = column(draft["cities"], "city")
    num = max(4, num_rows // 2)
    points = distinct_numbers(rng, num, low=0, high=80)
    homes = [rng.choice(cities) for _ in range(num)]
    mascots = names(rng, num, shapes=("{}",), nouns=words.MASCOTS)
    teams = [f"{home} {mascot}" for home, mascot in zip(homes, mascots, strict=True)]
    draft["teams"] = [
        {
            "team": team,
            "coach": rng.choice(people),
            "captain": rng.choice(people),
            "city": homes[i],
            "stadium": f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.STADIUMS)}",
            "points": points[i],
            "sponsor": rng.choice(column(draft["companies"], "company")),
        }
        for i, team in enumerate(teams)
    ]
    draft["matches"] = []
    for match in codes(rng, num_rows, prefix="G"):
        home, away = rng.sample(teams, 2)
        draft["matches"].append(
            {
                "match": match,
                "home": home,
                "away": away,
                "date": random_date(rng),
                "score": f"{rng.randrange(0, 6)}:{rng.randrange(0, 6)}",
                "referee": rng.choice(people),
                "spectators": rng.randrange(100, 60000),
            }
        )


__all__ = ["fill_reading_and_food", "fill_sports", "fill_stage"]
