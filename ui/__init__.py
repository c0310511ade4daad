"""The page: upload, read, ask, check. It calls the functions of `app` and keeps nothing of value in the browser.

server    serving it; gate: what every request passes; signin: signing in and out; downloads: page pictures
main      the Gradio page: its parts, and what leads to what
events    what happens when something is clicked, dropped or asked
shared    what all tabs share
view      what the page shows for an address (a view, a document, a conversation)
address   those as the query of the URL
top       the bar at the top
library   the queue and the list of documents; intake: taking new ones in; scans: uploads that wait for OCR
coverage  what of a document could not be read, and why
reading   what reading will take, how far it is, and its buttons
memory    the model's memory of a document, drawn
talk      a conversation: questions, answers, what each took, numbered quotes
several   one question to several documents, and the answers kept of earlier ones
source    the source of a quote; listing: code with colours and line numbers
settings  how answers are made, which model runs
ask       questions under way
markup    text to HTML, and numbers to words
page.js   what the browser does itself
"""
