mod forms;
mod sealing;
mod writing;
