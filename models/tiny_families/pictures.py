"""Draws pictures of one coloured shape: any size, place, tilt and background, now and then noisy or through JPEG.

They are drawn larger or smaller than the network's input and resized to it by Pillow, as the pictures of users are.
"""

from __future__ import annotations

import io
import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

# Each colour is any mix of two of its examples.
COLOURS: dict[str, tuple[Colour, ...]] = {
    "red": ((255, 0, 0), (220, 20, 60), (200, 30, 30), (235, 55, 45)),
    "orange": ((255, 165, 0), (255, 140, 0), (240, 130, 30)),
    "yellow": ((255, 255, 0), (250, 225, 40), (255, 230, 0)),
    "green": ((0, 128, 0), (0, 255, 0), (34, 139, 34), (50, 205, 50), (60, 160, 80)),
    "blue": ((0, 0, 255), (30, 60, 200), (65, 105, 225), (30, 144, 255)),
    "purple": ((128, 0, 128), (150, 50, 200), (138, 43, 226), (160, 32, 240)),
    "black": ((0, 0, 0), (30, 30, 30)),
    "white": ((255, 255, 255), (240, 240, 240)),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
HELD_OUT = {
    ("orange", "heart"),
    ("purple", "cross"),
    ("white", "triangle"),
    ("green", "star"),
    ("black", "heart"),
    ("yellow", "square"),
}
PLAIN_BACKGROUNDS = ((255, 255, 255), (255, 255, 255), (255, 255, 255), (240, 240, 240), (0, 0, 0), (128, 128, 128))
CONTRAST = 130  # least distance of shape and background in RGB
TILT = {"circle": 180, "square": 12, "triangle": 25, "star": 36, "cross": 15, "heart": 20}


@dataclass(frozen=True)
class Subject:
    """What a picture shows."""

    colour: str
    shape: str


def subject(rng: random.Random, *, held_out: bool | None = False) -> Subject:
    """Return a colour and a shape of the pairs that are shown from the start, of those held out, or (None) of all."""
    while True:
        chosen = rng.choice(list(COLOURS)), rng.choice(SHAPES)
        if held_out is None or (chosen in HELD_OUT) == held_out:
            return Subject(*chosen)


def outline(shape: str) -> Points:
    """Return the corners of a shape within the unit circle."""
    if shape == "circle":
        return _around([1.0] * 48)
    if shape == "square":
        return [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
    if shape == "triangle":
        return _around([1.0] * 3)
    if shape == "star":
        return _around([1.0, 0.42] * 5)
    if shape == "cross":
        a, b = 0.32, 0.95
        return [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    turns = [2 * math.pi * at / 40 for at in range(40)]
    return [
        (math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16)
        for t in turns
    ]


def draw(rng: random.Random, shown: Subject, size: int) -> np.ndarray:
    """Return a picture of (size, size, 3) bytes."""
    paint = _mixed(rng, COLOURS[shown.colour])
    width = rng.randint(56, 200)
    height = round(width * rng.uniform(0.75, 1.33)) if rng.random() < 0.5 else width
    picture = _background(rng, paint, width, height)
    ImageDraw.Draw(picture).polygon(_placed(rng, shown.shape, width, height), fill=paint)
    if rng.random() < 0.2:
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=rng.randint(40, 95))
        picture = Image.open(packed)
    pixels = np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    if rng.random() < 0.4:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 12), pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return pixels


def _around(radii: list[float]) -> Points:
    turns = [2 * math.pi * at / len(radii) for at in range(len(radii))]
    return [(radius * math.sin(turn), -radius * math.cos(turn)) for radius, turn in zip(radii, turns, strict=True)]


def _mixed(rng: random.Random, examples: tuple[Colour, ...]) -> Colour:
    first, second, share = rng.choice(examples), rng.choice(examples), rng.random()
    red, green, blue = (
        max(0, min(255, round(a * share + b * (1 - share) + rng.uniform(-10, 10))))
        for a, b in zip(first, second, strict=True)
    )
    return red, green, blue


def _background(rng: random.Random, paint: Colour, width: int, height: int) -> Image.Image:
    first = _unlike(rng, paint)
    picture = Image.new("RGB", (width, height), first)
    if rng.random() < 0.15:
        shade = Image.linear_gradient("L").resize((width, height))
        picture.paste(_unlike(rng, paint), mask=shade if rng.random() < 0.5 else shade.rotate(180))
    return picture


def _unlike(rng: random.Random, paint: Colour) -> Colour:
    """Return a background that the paint stands out from: plain, pale, dark or of another colour."""
    while True:
        kind = rng.random()
        if kind < 0.5:
            found = _mixed(rng, (rng.choice(PLAIN_BACKGROUNDS),))
        elif kind < 0.75:
            low = rng.choice((0, 170))
            found = (rng.randint(low, low + 85), rng.randint(low, low + 85), rng.randint(low, low + 85))
        else:
            found = _mixed(rng, rng.choice(list(COLOURS.values())))
        if math.dist(found, paint) >= CONTRAST:
            return found


def _placed(rng: random.Random, shape: str, width: int, height: int) -> Points:
    turn = math.radians(rng.uniform(-1, 1) * TILT[shape]) if rng.random() < 0.6 else 0.0
    across, up = rng.uniform(0.87, 1.15), 1.0
    points = [
        (x * across * math.cos(turn) - y * up * math.sin(turn), x * across * math.sin(turn) + y * up * math.cos(turn))
        for x, y in outline(shape)
    ]
    reach = max(max(abs(x), abs(y)) for x, y in points)
    radius = min(width, height) / 2 * rng.uniform(0.38, 0.98)
    scale = radius / reach
    left, top = (side / 2 + rng.uniform(-1, 1) * (side / 2 - radius) * (rng.random() < 0.7) for side in (width, height))
    return [(left + x * scale, top + y * scale) for x, y in points]
