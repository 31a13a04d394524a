"""Imported once by the process from which all others are forked."""

from lirpa_verify.running.worker import prepare

prepare()
