"""CloudWatch Logs Insights: queries of the language's usual part are executed, the rest is refused by name.

`language.py` reads a query, `expressions.py` evaluates what is in it, `execution.py` runs its commands over log events,
`records.py` makes fields of an event. Source of the language:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
"""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(_: Core) -> list[BaseRoute]:
    """Have moto answer StartQuery and GetQueryResults with these."""
    from localaws.insights.operations import install_operations

    install_operations()
    return []
