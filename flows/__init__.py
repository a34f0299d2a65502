"""The Prefect flows, one file each: the order of the steps and the decisions between them, without boto3 or torch."""

from flows.harmless import escape_prefects_records

escape_prefects_records()
