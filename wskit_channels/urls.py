"""
The documentation page: ``path("ws/docs/", include("wskit_channels.urls"))``.
"""

from __future__ import annotations

from django.urls import path

from wskit_channels import views

__all__ = ["urlpatterns"]

app_name = "wskit_channels"
urlpatterns = [
    path("", views.index, name="docs"),
    path("contract.json", views.contract, name="contract"),
    path("asyncapi/<int:number>.json", views.asyncapi, name="asyncapi"),
]
