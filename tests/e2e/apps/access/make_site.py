"""Prepares a new Django project: database, users, groups.

usage: make_site.py PROJECT-DIRECTORY
"""

import os
import sys

sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"

import django

django.setup()

from django.contrib.auth.models import Group, User
from django.core.management import call_command

call_command("migrate", verbosity=0)
agents = Group.objects.create(name="secret-agents")
User.objects.create_user("james", password="shaken").groups.add(agents)
User.objects.create_user("clerk", password="stirred")
User.objects.create_user("retired", password="shaken", is_active=False).groups.add(agents)
