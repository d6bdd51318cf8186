"""The control plane: summaries of windows become verdicts, evidence and findings."""

from observer.judge.judge import ModelJudge
from observer.judge.spec import Attention, JudgeSpec
from observer.judge.windows import TABLE, WindowJudge

__all__ = ["TABLE", "Attention", "JudgeSpec", "ModelJudge", "WindowJudge"]
