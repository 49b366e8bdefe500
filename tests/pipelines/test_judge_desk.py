"""The desk that judge actors share, as a real actor."""

import asyncio
import pickle

import pytest
import ray

from pipelines.judge_desk import AtDesk, DeskWatch, JudgeDesk, open_desk
from tests.wildreward.judge.asking import settings

PER_MINUTE = 6100  # 100 a second, and 100 at once


@pytest.mark.usefixtures("ray_cluster")
def test_two_judges_together_keep_to_the_limit_of_the_run_and_what_they_say_arrives() -> None:
    desk = open_desk(settings("http://x/v1", judge_requests_per_minute=PER_MINUTE))
    judges = [AtDesk(desk), pickle.loads(pickle.dumps(AtDesk(desk)))]

    async def all_permits() -> list[float]:
        loop = asyncio.get_running_loop()

        async def started(judge: AtDesk) -> float:
            await judge.permit(10)
            return loop.time()

        return sorted(await asyncio.gather(*(started(judge) for judge in judges for _ in range(75))))

    times = asyncio.run(all_permits())
    assert times[-1] - times[0] > 0.4  # 150 starts, of which the first 101 may come at once
    for judge in judges:
        judge.warn("an endpoint is out")
        judge.report({"requests": 3})
    news = ray.get(desk.news.remote())
    assert (news.warnings, news.stats, news.waiting) == ({"an endpoint is out": 2}, {"requests": 6}, None)


def test_what_waits_is_forgotten_when_it_is_over_and_reports_replace_one_another() -> None:
    desk = JudgeDesk(None, None)
    desk.waiting("one", "down for 1 s")
    desk.waiting("two", "down for 2 s")
    desk.waiting("one", None)
    desk.report("one", {"requests": 1})
    desk.report("one", {"requests": 5, "latency_s": 0.5})
    desk.report("two", {"requests": 2})
    assert desk.news().waiting == "down for 2 s"
    assert desk.news().stats == {"requests": 7, "latency_s": 0.5}
    for number in range(1000):
        desk.warn(f"warning {number}")
    assert len(desk.news().warnings) <= 100


def test_the_driver_says_each_warning_once_and_when_the_judge_answers_again() -> None:
    desk, said = JudgeDesk(None, None), list[str]()
    watch = DeskWatch(desk, said.append)
    desk.warn("an endpoint is out")
    desk.waiting("one", "down")
    watch.tell(desk.news())
    desk.warn("an endpoint is out")
    watch.tell(desk.news())
    desk.waiting("one", None)
    watch.tell(desk.news())
    assert said == ["warning: an endpoint is out", "down", "the judge answers again"]
