"""Service level objectives: error budgets, burn rates, and what they are made of."""

from observer.slo.good import LabelledRows, Places
from observer.slo.objectives import ModelObjectives, Objectives, Wanted
from observer.slo.spec import ObjectiveSpec

__all__ = ["LabelledRows", "ModelObjectives", "ObjectiveSpec", "Objectives", "Places", "Wanted"]
