"""The page: upload, read, ask, check. It calls the functions of `app` and keeps nothing of value in the browser.

main     the Gradio page and the server
view     what the page shows for an address (a document and a conversation)
address  those two as the query of the URL
library  the list of documents, and taking files in
reading  what reading will take, how far it is, and its buttons
talk     a conversation: questions, answers, what each took, numbered quotes
source   the text around a quote
ask      from a question to a streamed answer
markup   text to HTML, and numbers to words
"""
