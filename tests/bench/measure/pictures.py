"""Latencies as text and as SVG."""


def histograms(_):
    return ""


def draw_all(_, __):
    return None
