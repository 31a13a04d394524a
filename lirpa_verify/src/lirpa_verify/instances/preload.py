"""Imported once by the process from which those of instances are forked."""

from lirpa_verify.instances.worker import prepare

prepare()
