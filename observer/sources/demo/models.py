"""The cast of the default script: five models, and what happens to them."""

from __future__ import annotations

import math

from observer.sources.demo.parts import Challenger, Choice, Delay, Episode, Model, Numeric

_REGION = Choice("region", {"eu": 0.5, "us": 0.35, "apac": 0.15})

_CHURN = Model(
    "churn",
    "3",
    "binary",
    per_hour=2_000,
    features=(
        Numeric("age", "normal", 44.0, 13.0, (-0.15,), missing=0.01),
        Numeric("tenure_months", "count", 24.0, 0.8, (-0.7,), shared=0.5),
        Numeric("income", "lognormal", 38_000.0, 0.5, (-0.2,), shared=0.6, missing=0.06),
        Numeric("monthly_charge", "lognormal", 42.0, 0.35, (0.45,), shared=0.5),
        Numeric("data_gb", "heavy", 18.0, 9.0, (0.1,), shared=0.4),
        Numeric("calls_per_day", "count", 5.0, 0.6),
        Numeric("support_tickets", "count", 1.2, 0.9, (0.5,)),
        Numeric("days_since_login", "lognormal", 3.0, 1.0, (0.6,), shared=-0.3),
        Numeric("discount_share", "share", -2.0, 0.8, (0.15,)),
        Numeric("satisfaction", "normal", 7.2, 1.4, (-0.55,), missing=0.25),
        Numeric("late_payments", "count", 0.6, 1.0, (0.3,)),
        Numeric("usage_trend", "heavy", 0.0, 0.1, (-0.4,)),
        Choice(
            "contract",
            {"monthly": 0.55, "one year": 0.27, "two years": 0.18},
            {"monthly": (0.5,), "two years": (-0.6,)},
        ),
        Choice("payment", {"card": 0.45, "debit": 0.35, "invoice": 0.17, "voucher": 0.03}),
        Choice("device", {"android": 0.52, "ios": 0.41, "other": 0.07}, missing=0.02),
        Choice("channel", {"web": 0.5, "shop": 0.3, "phone": 0.15, "partner": 0.05}),
    ),
    delay=Delay(median=4.0, spread=0.6, longest=36.0, coverage=0.92, corrected=0.02),
    base=(-1.4,),
    classes=("0", "1"),
    tags=(_REGION,),
)

_FRAUD = Model(
    "fraud",
    "7",
    "binary",
    per_hour=1_500,
    features=(
        Numeric("amount", "lognormal", 36.0, 1.1, (1.1,)),
        Numeric("amount_vs_usual", "heavy", 0.0, 1.0, (0.9,), shared=0.4),
        Numeric("merchant_risk", "share", -3.0, 1.0, (1.3,)),
        Numeric("payments_last_hour", "count", 1.5, 0.7, (0.8,), shared=0.5),
        Numeric("distance_km", "lognormal", 6.0, 1.6, (0.8,), missing=0.08),
        Numeric("account_age_days", "lognormal", 620.0, 0.9, (-0.6,)),
        Numeric("device_score", "normal", 0.0, 1.0, (-0.8,), missing=0.04),
        Numeric("hour_of_day", "normal", 14.0, 4.0),
        Choice(
            "merchant_category",
            {
                "grocery": 0.34,
                "travel": 0.14,
                "fuel": 0.13,
                "electronics": 0.12,
                "clothing": 0.11,
                "dining": 0.11,
                "gaming": 0.05,
            },
            {"gaming": (0.9,), "electronics": (0.4,), "grocery": (-0.3,)},
        ),
        Choice("entry", {"chip": 0.48, "online": 0.38, "contactless": 0.12, "swipe": 0.02}),
        Choice("currency", {"EUR": 0.62, "USD": 0.25, "GBP": 0.1, "CHF": 0.03}),
    ),
    delay=Delay(median=20.0, spread=0.7, longest=120.0, coverage=0.85, corrected=0.25),
    base=(-8.0,),
    classes=("0", "1"),
    threshold=0.25,
    tags=(_REGION,),
)

_DEMAND = Model(
    "demand",
    "11",
    "regression",
    per_hour=1_200,
    features=(
        Numeric("price", "lognormal", 12.0, 0.6, (-0.3,)),
        Numeric("stock", "count", 140.0, 0.7, shared=0.3),
        Numeric("sold_last_week", "lognormal", 55.0, 0.8, (0.5,), shared=0.7),
        Numeric("sold_last_year", "lognormal", 48.0, 0.8, (0.3,), shared=0.7, missing=0.12),
        Numeric("discount", "share", -1.5, 0.9, (0.2,)),
        Numeric("temperature", "normal", 11.0, 7.0, (0.1,), missing=0.01),
        Numeric("rain_mm", "heavy", 2.0, 1.5),
        Choice("store_type", {"city": 0.44, "suburb": 0.37, "station": 0.19}, {"station": (0.2,)}),
        Choice("category", {"food": 0.4, "home": 0.25, "toys": 0.15, "garden": 0.12, "books": 0.08}),
        Choice("promotion", {"none": 0.8, "flyer": 0.14, "display": 0.06}, {"display": (0.5,)}),
    ),
    delay=Delay(median=2.0, spread=0.5, longest=24.0, coverage=0.98),
    base=(4.0,),
    noise=0.25,
    challenger=Challenger("12", 0.4),
)

_TRIAGE = Model(
    "triage",
    "2",
    "multiclass",
    per_hour=1_000,
    features=(
        Numeric("waiting_minutes", "lognormal", 21.0, 0.8, (1.6, 0.0, -0.9, 0.0)),
        Numeric("text_length", "count", 220.0, 0.9, (0.5, 0.7, -0.7, 0.0)),
        Numeric("sentiment", "normal", 0.1, 0.6, (-1.9, 0.2, 1.6, 0.0), shared=0.3),
        Numeric("past_tickets", "count", 2.5, 1.0, (0.6, -0.4, 0.0, 1.0)),
        Numeric("account_value", "lognormal", 900.0, 1.2, (1.5, 0.9, -1.0, -0.7), shared=0.3, missing=0.05),
        Numeric("attachments", "count", 0.7, 0.9, (0.0, 1.4, 0.0, 0.0)),
        Choice("language", {"en": 0.6, "de": 0.2, "fr": 0.12, "es": 0.08}),
        Choice(
            "product",
            {"core": 0.45, "mobile": 0.3, "billing": 0.15, "api": 0.1},
            {"billing": (-0.9, -1.6, 0.0, 3.6), "api": (0.6, 2.2, -0.6, 0.0)},
        ),
        Choice(
            "plan", {"free": 0.5, "team": 0.35, "enterprise": 0.15}, {"enterprise": (2.0, 0.6, -1.3, 0.0)}
        ),
    ),
    delay=Delay(median=0.6, spread=0.6, longest=12.0, coverage=0.95),
    base=(-0.3, 0.4, 1.1, -0.4),
    classes=("urgent", "bug", "question", "refund"),
)

_OFFERS = Model(
    "offers",
    "1",
    "binary",
    per_hour=2_000,
    features=(
        Numeric("price_vs_market", "normal", 0.0, 0.2, (-2.0,)),
        Numeric("days_since_order", "lognormal", 20.0, 0.8, (-1.4,)),
        Numeric("basket_value", "lognormal", 55.0, 0.6, (1.5,)),
        Numeric("visits_last_week", "count", 12.0, 0.6, (1.6,), shared=0.3),
        Numeric("discount", "share", -1.2, 0.7, (1.0,), shared=0.3),
        Numeric("newsletter_clicks", "count", 6.0, 0.7, missing=0.03),
        Choice("channel", {"app": 0.5, "web": 0.36, "mail": 0.14}, {"mail": (-0.8,)}),
    ),
    delay=Delay(median=0.8, spread=0.5, longest=8.0, coverage=0.95),
    base=(0.1,),
    classes=("0", "1"),
    served=True,
)

MODELS = (_CHURN, _DEMAND, _FRAUD, _OFFERS, _TRIAGE)

MARKET_TURNS = 12.0
"""Hours after the start from which on customers of `offers` are others and decide otherwise, for good."""

EPISODES = (
    # Loyal customers hold out for a better price; who comes instead buys more, by mail. Only learning helps.
    Episode("offers", "pull", -0.5, MARKET_TURNS, math.inf, ("basket_value", "visits_last_week"), once=True),
    Episode("offers", "shift", 0.7, MARKET_TURNS, math.inf, ("basket_value",), once=True),
    Episode("offers", "mix", 0.4, MARKET_TURNS, math.inf, ("channel",), once=True),
    # A campaign brings other customers: it shows gradually, and passes.
    Episode("churn", "shift", 0.6, 12, 30, ("income", "monthly_charge"), ramp=2),
    Episode("churn", "mix", 0.3, 12, 30, ("contract",), ramp=2),
    # What the tickets mean changes, though they look as before: only quality falls.
    Episode("triage", "concept", 0.4, 20, 80, ramp=3),
    # A new kind of merchant, and an update that breaks the device score: both at once.
    Episode("fraud", "new_category", 0.12, 36, 66, ("merchant_category",), name="crypto"),
    Episode("fraud", "missing", 0.3, 40, 60, ("device_score",)),
    Episode("fraud", "scale", 1.6, 46, 66, ("amount",), ramp=4),
)
CYCLE = 96.0
"""Hours after which the episodes come again."""
