"""Endpoints that run: one model-server process for each instance, health checks, routing, updates and scaling.

`models.py` is what moto's backend gets in place of its own endpoint operations; it calls `hosting.py`, which holds the
processes of every endpoint. `plan.py` says what is to run, `deployments.py`, `fleets.py` and `instances.py` run it, and
`router.py` answers `InvokeEndpoint`. `rollouts.py` shifts requests to the new fleet of an update as `guardrails.py`
says, and takes it back when an alarm of `rollback_alarms.py` trips. `spares.py` and `spare_keeper.py` load model
servers ahead of a scale-out.
"""
