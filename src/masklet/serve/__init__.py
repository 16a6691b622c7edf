"""A server and a page: photos, videos and reviews in a browser, and the protocols of other labelling tools.

`app.create_app` joins the routes; `sessions/` holds what outlives a request, `routes/` the server's own interface,
`bridges/` that of other programs, and `page/` the built page, whose source is `web/`. It needs `masklet[serve]`.
"""
