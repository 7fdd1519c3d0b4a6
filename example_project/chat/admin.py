from django.contrib import admin

from .models import ChatLine, Room


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's class takes no [Room]
    list_display = ("name", "slug", "purpose")
    prepopulated_fields = {"slug": ["name"]}
    search_fields = ("name",)


@admin.register(ChatLine)
class ChatLineAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # nor [ChatLine]
    list_display = ("created_at", "room", "author", "text")
    list_filter = ("room",)
    list_select_related = ("room", "author")
    search_fields = ("text",)
