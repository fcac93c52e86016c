"""APIs of leisure: library, recipes, music, films, sports."""

from __future__ import annotations

from dyna.envs.toolbench.documents import Api, listing, lookup

LIBRARY = ("Education", "city_library")
FOOD = ("Food", "recipe_box")
MUSIC = ("Music", "song_index")
FILMS = ("Movies", "film_guide")
SPORTS = ("Sports", "league_table")

APIS: tuple[Api, ...] = (
    lookup(
        LIBRARY,
        "book_details",
        "Author, year and pages of a book.",
        table="books",
        by="book",
        says={
            "author": ("person", "the author of {}"),
            "year": ("number", "the year of {}"),
            "pages": ("number", "the pages of {}"),
        },
    ),
    lookup(
        LIBRARY,
        "book_location",
        "Branch and shelf of a book.",
        table="books",
        by="book",
        says={"branch": ("text", "the branch of {}"), "shelf": ("text", "the shelf of {}")},
    ),
    lookup(
        LIBRARY,
        "book_loan",
        "Who has borrowed a book, and until when.",
        table="books",
        by="book",
        says={
            "borrower": ("person", "the borrower of {}"),
            "due": ("date", "the due date of {}"),
        },
    ),
    listing(
        LIBRARY,
        "books_by_author",
        "Books that a person wrote.",
        table="books",
        by="author",
        kind="person",
        fields=("book", "year"),
        says=(
            ("max:year", "book", "book", "the newest book by {}"),
            ("min:year", "book", "book", "the oldest book by {}"),
            ("all", "book", "list", "the books by {}"),
        ),
    ),
    lookup(
        FOOD,
        "recipe_details",
        "Cuisine, minutes and servings of a recipe.",
        table="recipes",
        by="recipe",
        says={
            "cuisine": ("text", "the cuisine of {}"),
            "minutes": ("number", "the minutes of {}"),
            "servings": ("number", "the servings of {}"),
        },
    ),
    lookup(
        FOOD,
        "recipe_ingredients",
        "Main ingredient and other ingredients of a recipe.",
        table="recipes",
        by="recipe",
        says={
            "main_ingredient": ("ingredient", "the main ingredient of {}"),
            "ingredients": ("list", "the other ingredients of {}"),
        },
    ),
    lookup(
        FOOD,
        "recipe_chef",
        "Who made up a recipe.",
        table="recipes",
        by="recipe",
        says={"chef": ("person", "the chef of {}")},
    ),
    listing(
        FOOD,
        "recipes_by_chef",
        "Recipes of a person.",
        table="recipes",
        by="chef",
        kind="person",
        fields=("recipe", "minutes"),
        says=(
            ("min:minutes", "recipe", "recipe", "the quickest recipe by {}"),
            ("max:minutes", "recipe", "recipe", "the slowest recipe by {}"),
        ),
    ),
    lookup(
        FOOD,
        "nutrition",
        "Calories and allergen of an ingredient.",
        table="ingredients",
        by="ingredient",
        says={
            "calories": ("number", "the calories of {}"),
            "allergen": ("text", "the allergen of {}"),
        },
    ),
    lookup(
        FOOD,
        "ingredient_price",
        "Price in USD and supplier of an ingredient.",
        table="ingredients",
        by="ingredient",
        says={
            "price": ("usd", "the price of {}"),
            "supplier": ("company", "the supplier of {}"),
        },
    ),
    lookup(
        MUSIC,
        "song_details",
        "Artist, year and length of a song.",
        table="songs",
        by="song",
        says={
            "artist": ("artist", "the artist of {}"),
            "year": ("number", "the year of {}"),
            "seconds": ("number", "the length in seconds of {}"),
        },
    ),
    lookup(
        MUSIC,
        "song_writer",
        "Who wrote a song.",
        table="songs",
        by="song",
        says={"writer": ("person", "the writer of {}")},
    ),
    listing(
        MUSIC,
        "songs_of_artist",
        "Songs of an artist and how often they were played.",
        table="songs",
        by="artist",
        fields=("song", "plays"),
        says=(
            ("max:plays", "song", "song", "the most played song of {}"),
            ("min:plays", "song", "song", "the least played song of {}"),
            ("all", "song", "list", "the songs of {}"),
        ),
    ),
    lookup(
        MUSIC,
        "artist_details",
        "Genre, label and hometown of an artist.",
        table="artists",
        by="artist",
        says={
            "genre": ("text", "the genre of {}"),
            "label": ("text", "the label of {}"),
            "hometown": ("city", "the hometown of {}"),
        },
    ),
    lookup(
        MUSIC,
        "next_concert",
        "City, day and ticket price in USD of an artist's next concert.",
        table="artists",
        by="artist",
        says={
            "concert_city": ("city", "the city of the next concert of {}"),
            "concert_date": ("date", "the day of the next concert of {}"),
            "ticket_price": ("usd", "the ticket price of the next concert of {}"),
        },
    ),
    lookup(
        MUSIC,
        "lead_singer",
        "Who sings for an artist.",
        table="artists",
        by="artist",
        says={"singer": ("person", "the singer of {}")},
    ),
    lookup(
        FILMS,
        "film_details",
        "Year, length and rating of a film.",
        table="movies",
        by="movie",
        says={
            "year": ("number", "the year of {}"),
            "minutes": ("number", "the length in minutes of {}"),
            "rating": ("number", "the rating of {}"),
        },
    ),
    lookup(
        FILMS,
        "film_crew",
        "Director and studio of a film.",
        table="movies",
        by="movie",
        says={
            "director": ("person", "the director of {}"),
            "studio": ("text", "the studio of {}"),
        },
    ),
    lookup(
        FILMS,
        "film_places",
        "Where a film was made, and the cinema that shows it.",
        table="movies",
        by="movie",
        says={
            "filmed_in": ("city", "the filming city of {}"),
            "cinema": ("text", "the cinema that shows {}"),
        },
    ),
    listing(
        FILMS,
        "films_by_director",
        "Films that a person directed.",
        table="movies",
        by="director",
        kind="person",
        fields=("movie", "rating"),
        says=(
            ("max:rating", "movie", "movie", "the best rated film by {}"),
            ("all", "movie", "list", "the films by {}"),
        ),
    ),
    lookup(
        SPORTS,
        "team_staff",
        "Coach and captain of a team.",
        table="teams",
        by="team",
        says={
            "coach": ("person", "the coach of {}"),
            "captain": ("person", "the captain of {}"),
        },
    ),
    lookup(
        SPORTS,
        "team_home",
        "City, stadium and sponsor of a team.",
        table="teams",
        by="team",
        says={
            "city": ("city", "the city of {}"),
            "stadium": ("text", "the stadium of {}"),
            "sponsor": ("company", "the sponsor of {}"),
        },
    ),
    lookup(
        SPORTS,
        "team_points",
        "Points of a team in the league.",
        table="teams",
        by="team",
        says={"points": ("number", "the points of {}")},
    ),
    lookup(
        SPORTS,
        "match_teams",
        "Home and away team of a match.",
        table="matches",
        by="match",
        says={
            "home": ("team", "the home team of {}"),
            "away": ("team", "the away team of {}"),
        },
    ),
    lookup(
        SPORTS,
        "match_result",
        "Score, day and spectators of a match.",
        table="matches",
        by="match",
        says={
            "score": ("text", "the score of {}"),
            "date": ("date", "the day of {}"),
            "spectators": ("number", "the spectators of {}"),
        },
    ),
    lookup(
        SPORTS,
        "match_referee",
        "Referee of a match.",
        table="matches",
        by="match",
        says={"referee": ("person", "the referee of {}")},
    ),
)

__all__ = ["APIS"]
