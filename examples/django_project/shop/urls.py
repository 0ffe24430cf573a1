"""The paths: an argument called ``tenant`` is whom a request is about."""

from __future__ import annotations

from django.urls import path

from shop import views

urlpatterns = [
    path("", views.welcome),
    path("api/<tenant>/orders", views.Orders.as_view()),
    path("api/<tenant>/orders/search", views.search),
    path("api/<tenant>/report", views.report),
]
