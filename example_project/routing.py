from django.urls import path

from example_project.chat.handlers import router

websocket_urlpatterns = [path("ws/", router.as_asgi())]
