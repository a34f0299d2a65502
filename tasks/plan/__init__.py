"""What a run will make and cost before it makes anything, and what it has spent; nothing here changes AWS.

`tasks.plan.plan` makes the plan, `tasks.plan.text` shows it in 80 columns, `tasks.plan.consent` asks for it.
"""
