"""What the tests of pages share: a visit that is watched, colours, contrast."""

from dataclasses import dataclass
from typing import Any

import numpy as np

# Settings of a run that takes a second.
TINY = {
    "model.c1": 4,
    "model.c2": 8,
    "model.l1": 16,
    "training.batch_size": 16,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}

# Texts with less contrast than 4.5 to 1 (WCAG 2.2, 1.4.3), with their contrast.
LOW_CONTRASTS = """() => {
    const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
    const luminance = ([r, g, b]) => {
        const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    };
    const background = (element) => {
        for (; element; element = element.parentElement) {
            const colour = channels(getComputedStyle(element).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || element.disabled || !element.checkVisibility()) continue;
        const style = getComputedStyle(element);
        const colour = channels(element.closest('svg') ? style.fill : style.color);
        const [a, b] = [luminance(colour), luminance(background(element))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) low.push([element.outerHTML.slice(0, 80), (a + 0.05) / (b + 0.05)]);
    }
    return low;
}"""


@dataclass(frozen=True)
class Visit:
    """A page that is open, what it complained about, and what it asked for."""

    page: Any
    complaints: list[str]
    requests: list[str]


def visit(browser, url, **options):
    """Open a page in a context of its own."""
    page = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}).new_page()
    visited = Visit(page, [], [])
    page.on("console", lambda message: visited.complaints.append(message.text))
    page.on("pageerror", lambda error: visited.complaints.append(str(error)))
    page.on("request", lambda request: visited.requests.append(request.url))
    page.goto(url)
    return visited


def inferno(values):
    """The heat maps' colours, 0 to 255 with a last axis for red, green and blue, of values from 0 to 1."""
    anchors = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]])
    return np.stack([np.interp(values, np.linspace(0, 1, 5), channel) for channel in anchors.T], -1)
