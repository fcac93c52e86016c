"""APIs of people and their days: contacts, mail, calendar, devices, jobs."""

from __future__ import annotations

import datetime
from typing import Any

from dyna.envs.toolbench import words
from dyna.envs.toolbench.documents import (
    PARAMETERS,
    Api,
    Arguments,
    Output,
    Parameter,
    RefusedError,
    listing,
    lookup,
)
from dyna.envs.toolbench.tables import Tables

CONTACTS = ("Communication", "address_book")
MAIL = ("Email", "mail_box")
CALENDAR = ("Events", "calendar")
DEVICES = ("Devices", "smart_home")
JOBS = ("Jobs", "job_board")
_DATE = Parameter(name="date", kind="date", description=PARAMETERS["date"])


def _weekday(tables: Tables, arguments: Arguments) -> dict[str, Any]:
    del tables
    try:
        day = datetime.date.fromisoformat(str(arguments["date"]).strip())
    except ValueError:
        raise RefusedError("date must read YYYY-MM-DD") from None
    return {"weekday": words.WEEKDAYS[day.weekday()], "day_of_year": day.timetuple().tm_yday}


_CONTACTS: tuple[Api, ...] = (
    lookup(
        CONTACTS,
        "contact_details",
        "Email and phone of a person.",
        table="contacts",
        by="name",
        kind="person",
        says={
            "email": ("text", "the email address of {}"),
            "phone": ("text", "the phone number of {}"),
        },
    ),
    lookup(
        CONTACTS,
        "home_city",
        "Where a person lives.",
        table="contacts",
        by="name",
        kind="person",
        says={"city": ("city", "the home city of {}")},
    ),
    lookup(
        CONTACTS,
        "employer",
        "Company and manager of a person.",
        table="contacts",
        by="name",
        kind="person",
        says={
            "company": ("company", "the employer of {}"),
            "manager": ("person", "the manager of {}"),
        },
    ),
    lookup(
        CONTACTS,
        "birthday",
        "Birthday of a person.",
        table="contacts",
        by="name",
        kind="person",
        says={"birthday": ("date", "the birthday of {}")},
    ),
    listing(
        CONTACTS,
        "people_in_city",
        "Contacts who live in a city.",
        table="contacts",
        by="city",
        fields=("name",),
        says=(("all", "name", "list", "the people who live in {}"),),
    ),
    listing(
        MAIL,
        "inbox",
        "Messages that a person received.",
        table="messages",
        by="recipient",
        kind="person",
        fields=("message", "sender", "date"),
        says=(
            ("max:date", "message", "message", "the newest message to {}"),
            ("min:date", "message", "message", "the oldest message to {}"),
            ("max:date", "sender", "person", "the sender of the newest message to {}"),
        ),
    ),
    lookup(
        MAIL,
        "read_message",
        "Sender and subject of a message.",
        table="messages",
        by="message",
        says={
            "sender": ("person", "the sender of {}"),
            "subject": ("text", "the subject of {}"),
        },
    ),
    lookup(
        MAIL,
        "message_event",
        "The event that a message is about.",
        table="messages",
        by="message",
        says={"event": ("event", "the event of {}")},
    ),
)
_DAYS: tuple[Api, ...] = (
    lookup(
        CALENDAR,
        "event_time",
        "Title, day and time of an event.",
        table="events",
        by="event",
        says={
            "title": ("text", "the title of {}"),
            "date": ("date", "the day of {}"),
            "time": ("text", "the time of {}"),
        },
    ),
    lookup(
        CALENDAR,
        "event_place",
        "City and organizer of an event.",
        table="events",
        by="event",
        says={"city": ("city", "the city of {}"), "organizer": ("person", "the organizer of {}")},
    ),
    lookup(
        CALENDAR,
        "event_attendees",
        "Who attends an event.",
        table="events",
        by="event",
        says={"attendees": ("list", "the attendees of {}")},
    ),
    listing(
        CALENDAR,
        "events_of_organizer",
        "Events that a person organizes.",
        table="events",
        by="organizer",
        kind="person",
        fields=("event", "date"),
        says=(
            ("min:date", "event", "event", "the earliest event organized by {}"),
            ("max:date", "event", "event", "the latest event organized by {}"),
        ),
    ),
    Api(
        category=CALENDAR[0],
        tool=CALENDAR[1],
        name="weekday",
        description="Weekday and day of the year of a date.",
        required=(_DATE,),
        outputs=(
            Output(field="weekday", kind="text", phrase="the weekday of {date}"),
            Output(field="day_of_year", kind="number", phrase="the day of the year of {date}"),
        ),
        reads={},
        run=_weekday,
    ),
    listing(
        DEVICES,
        "devices_of_owner",
        "Smart devices of a person.",
        table="devices",
        by="owner",
        kind="person",
        fields=("device", "battery"),
        says=(
            ("min:battery", "device", "device", "the device with the lowest battery of {}"),
            ("all", "device", "list", "the smart devices of {}"),
        ),
    ),
    lookup(
        DEVICES,
        "device_status",
        "Type, room and firmware of a smart device.",
        table="devices",
        by="device",
        says={
            "type": ("text", "the type of {}"),
            "room": ("text", "the room of {}"),
            "firmware": ("text", "the firmware of {}"),
        },
    ),
    lookup(
        DEVICES,
        "device_owner",
        "Owner of a smart device.",
        table="devices",
        by="device",
        says={"owner": ("person", "the owner of {}")},
    ),
    listing(
        JOBS,
        "jobs_in_city",
        "Open jobs in a city with salary in USD.",
        table="jobs",
        by="city",
        fields=("job", "title", "salary"),
        says=(
            ("max:salary", "job", "job", "the best paid job in {}"),
            ("min:salary", "job", "job", "the worst paid job in {}"),
        ),
    ),
    lookup(
        JOBS,
        "job_details",
        "Title, company and salary in USD of a job.",
        table="jobs",
        by="job",
        says={
            "title": ("text", "the title of {}"),
            "company": ("company", "the company of {}"),
            "salary": ("usd", "the salary of {}"),
        },
    ),
    lookup(
        JOBS,
        "job_recruiter",
        "Recruiter of a job.",
        table="jobs",
        by="job",
        says={"recruiter": ("person", "the recruiter of {}")},
    ),
)
APIS: tuple[Api, ...] = _CONTACTS + _DAYS

__all__ = ["APIS"]
